package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/schemas"
)

func schemaCommand(p *process) *cobra.Command {
	cmd := group("schema", "Shows the types of events and their JSON Schemas", `
Shows the types of events and their JSON Schemas (draft 2020-12), those that a
receiver serves at /schemas/ too. It needs no configuration.`, `
  postern schema list
  postern schema show process.succeeded`)
	cmd.AddCommand(
		&cobra.Command{
			Use:     "list",
			Short:   "Lists the types of events",
			Long:    "Lists the types of events, a line each: the type with its version, the stream that has it, and what it means.",
			Example: "  postern schema list",
			Args:    cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				for _, d := range schemas.Definitions() {
					if _, err := fmt.Fprintf(p.stdout, "%-42s  %-14s  %s\n", d.Type.Versioned(), d.Type.Stream(), d.Meaning); err != nil {
						return err
					}
				}
				return nil
			},
		},
		&cobra.Command{
			Use:   "show TYPE",
			Short: "Prints the JSON Schema of a type",
			Long: `Prints the JSON Schema of a type's body. The type may be written as it is in
events (postern.process.succeeded.v1), or without its prefix and version.`,
			Example: "  postern schema show process.succeeded > process.succeeded.v1.json",
			Args:    cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				return p.showSchema(args[0])
			},
		},
	)
	return cmd
}

func (p *process) showSchema(name string) error {
	short := strings.TrimSuffix(strings.TrimPrefix(name, "postern."), ".v1")
	if !schemas.Type(short).Known() {
		var known []string
		for _, d := range schemas.Definitions() {
			known = append(known, string(d.Type))
		}
		next := "`postern schema list` lists them"
		if near := closest(short, known); near != "" {
			next = "did you mean " + near + "?"
		}
		return failf(exitNotFound, next, "there is no type %q", name)
	}
	data, err := fs.ReadFile(schemas.JSON(), schemas.Type(short).Versioned()+".json")
	if errors.Is(err, fs.ErrNotExist) {
		return failf(exitNotFound, "", "this version has no schema of %s", short)
	}
	if err != nil {
		return err
	}
	_, err = p.stdout.Write(data)
	return err
}
