package corastonetest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Confirmation is a call of SNS's ConfirmSubscription that was answered 200.
type Confirmation struct {
	Host  string
	Topic string
	Token string
}

// Lapse has a token be one that SNS knows nothing of any more.
func (h *CertificateHost) Lapse(token string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lapsed = append(h.lapsed, token)
}

// Confirmed returns the confirmations, in order, repeats included.
func (h *CertificateHost) Confirmed() []Confirmation {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.confirmed)
}

// confirm answers ConfirmSubscription as SNS does where nobody signs the
// request. It is called with the lock held.
// https://docs.aws.amazon.com/sns/latest/api/API_ConfirmSubscription.html
func (h *CertificateHost) confirm(u *url.URL) (status int, content []byte) {
	q := u.Query()
	c := Confirmation{Host: u.Host, Topic: q.Get("TopicArn"), Token: q.Get("Token")}
	region := ""
	if parts := strings.Split(c.Topic, ":"); len(parts) == 6 {
		region = parts[3]
	}
	elsewhere := u.Host != host(region) || u.Scheme != "https" || u.User != nil || u.Path != "/" || u.Fragment != ""
	if elsewhere || len(q) != 3 || c.Token == "" || slices.Contains(h.lapsed, c.Token) {
		return http.StatusBadRequest, []byte(`<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">
  <Error><Type>Sender</Type><Code>InvalidParameter</Code><Message>Invalid token</Message></Error>
</ErrorResponse>`)
	}
	h.confirmed = append(h.confirmed, c)
	return http.StatusOK, []byte(`<ConfirmSubscriptionResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">
  <ConfirmSubscriptionResult>
    <SubscriptionArn>` + c.Topic + `:00000000-0000-4000-8000-000000000000</SubscriptionArn>
  </ConfirmSubscriptionResult>
  <ResponseMetadata><RequestId>00000000-0000-4000-8000-00000000000f</RequestId></ResponseMetadata>
</ConfirmSubscriptionResponse>`)
}
