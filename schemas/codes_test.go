package schemas_test

import (
	"regexp"
	"testing"

	"github.com/seed75441868/postern/schemas"
)

func TestDocumentedCodesAreDescribed(t *testing.T) {
	c, ok := schemas.DescribeCode("IS0012")
	if !ok || c.Family == nil || *c.Family != "issuance" || c.Message == nil || c.Retryable != nil {
		t.Errorf("IS0012 is %+v, %v", c, ok)
	}
	if c, ok := schemas.DescribeCode("OG0013"); !ok || c.Retryable == nil || !*c.Retryable {
		t.Errorf("OG0013 is %+v, %v", c, ok)
	}
	if c, ok := schemas.DescribeCode("AS0001"); !ok || c.Message != nil {
		t.Errorf("AS0001, which has no documented message, is %+v, %v", c, ok)
	}
	if c, ok := schemas.DescribeCode("XX9999"); ok || c.Code != "XX9999" || c.Family != nil || c.Message != nil {
		t.Errorf("an unknown code is %+v, %v", c, ok)
	}
}

func TestCategoriesHaveLabels(t *testing.T) {
	for _, code := range []string{"EC001", "EC002", "EC003", "EC004", "EC005", "EC006"} {
		if schemas.DescribeCategory(code) == nil {
			t.Errorf("%s has no label", code)
		}
	}
	if schemas.DescribeCategory("EC007") != nil {
		t.Error("a category that is not documented has a label")
	}
}

// Messages go to consumers: a template has no values in it.
func TestCodesAreWellFormed(t *testing.T) {
	form := regexp.MustCompile(`^[A-Z]{2,4}[0-9]{4}$`)
	n := 0
	for _, code := range schemas.CodeNames() {
		n++
		if !form.MatchString(code) {
			t.Errorf("%q is no code", code)
		}
	}
	if n < 150 {
		t.Errorf("there are only %d codes", n)
	}
}
