package schemas

import (
	_ "embed" // the dictionary
	"maps"
	"slices"
	"sync"

	"github.com/go-json-experiment/json"
)

// codes are the error codes that Corastone documents (Integration API guide,
// Error codes and messages, and the lists of its endpoints), with the messages'
// templates where the guide gives them.
//
//go:embed codes.json
var codes []byte

var byCode = sync.OnceValue(func() map[string]ErrorCode {
	var list []struct {
		Code      string  `json:"code"`
		Family    *string `json:"family"`
		Message   *string `json:"message"`
		Retryable *bool   `json:"retryable"`
	}
	if err := json.Unmarshal(codes, &list); err != nil {
		panic("schemas: codes.json: " + err.Error())
	}
	m := make(map[string]ErrorCode, len(list))
	for _, c := range list {
		m[c.Code] = ErrorCode{Code: c.Code, Family: c.Family, Message: c.Message, Retryable: c.Retryable}
	}
	return m
})

// DescribeCode returns what is documented of an error code of Corastone's, and
// whether anything is. Of one that isn't it has nothing but the code.
func DescribeCode(code string) (ErrorCode, bool) {
	if c, ok := byCode()[code]; ok {
		return c, true
	}
	return ErrorCode{Code: code}, false
}

// CodeNames returns the documented codes, sorted.
func CodeNames() []string { return slices.Sorted(maps.Keys(byCode())) }

// codeCategories are Corastone's categories of reasons and errors, by their
// codes.
var codeCategories = map[string]string{
	"EC001": "tax documents",
	"EC002": "investor information, AML and KYC",
	"EC003": "subscription documents",
	"EC004": "account",
	"EC005": "transaction data",
	"EC006": "other",
}

// DescribeCategory returns what a category of reasons for a remediation, or of
// errors, is about; nil if that is not documented.
func DescribeCategory(code string) *string {
	if label, ok := codeCategories[code]; ok {
		return &label
	}
	return nil
}
