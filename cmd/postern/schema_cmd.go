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
		schemaShowCommand(p),
	)
	return cmd
}

func schemaShowCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show TYPE | --asyncapi | --openapi",
		Short: "Prints the JSON Schema of a type, or what describes all of them",
		Long: `Prints the JSON Schema of a type's body. The type may be written as it is in
events (postern.process.succeeded.v1), or without its prefix and version.

--asyncapi prints what is published and where, as AsyncAPI 3.0; --openapi the
routes of the ops listener, as OpenAPI 3.1. A receiver serves them at
/asyncapi.json and /openapi.json.`,
		Example: `  postern schema show process.succeeded > process.succeeded.v1.json
  postern schema show --asyncapi > asyncapi.json`,
		Args: cobra.MaximumNArgs(1),
	}
	async := cmd.Flags().Bool("asyncapi", false, "print the AsyncAPI document")
	open := cmd.Flags().Bool("openapi", false, "print the OpenAPI document")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		asked := len(args)
		for _, flag := range []bool{*async, *open} {
			if flag {
				asked++
			}
		}
		switch {
		case asked != 1:
			return failf(exitUsage, "`postern schema list` lists the types", "name one type, --asyncapi or --openapi")
		case *async:
			_, err := p.stdout.Write(schemas.AsyncAPI())
			return err
		case *open:
			_, err := p.stdout.Write(schemas.OpenAPI())
			return err
		}
		return p.showSchema(args[0])
	}
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
