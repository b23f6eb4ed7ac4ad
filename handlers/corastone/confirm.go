package corastone

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/seed75441868/postern/handlers"
)

// token is the shape of what confirms a subscription. Those that are known are
// some hundred hexadecimal digits; nothing here means anything in a URL.
var token = regexp.MustCompile(`^[0-9A-Za-z_-]{1,512}$`)

// confirmer confirms subscriptions as the developer guide says (Confirm the
// subscription), by a URL of its own making: a SubscribeURL is never followed,
// so that nobody but Amazon's SNS of a topic that is configured is called.
type confirmer struct {
	fetch handlers.Fetch
	hosts map[string]string // by topic: its region's SNS
}

// confirmations says in out how subscriptions are confirmed.
func (p *Push) confirmations(out *handlers.Push, means handlers.Means) error {
	var problems []error
	c := confirmer{fetch: means.Fetch, hosts: map[string]string{}}
	for i, topic := range p.Topics {
		if !topicARN.MatchString(topic) {
			continue // which is told already
		}
		o, ok := originOf(regionOf(topic))
		if !ok && p.ConfirmSubscriptions {
			problems = append(problems, fmt.Errorf("push.topics[%d] is in a region whose SNS is not known here; set push.confirm_subscriptions to false, and confirm by hand", i))
		}
		if ok {
			c.hosts[topic] = o.host
		}
	}
	if c.fetch == nil && p.ConfirmSubscriptions {
		problems = append(problems, errors.New("push.confirm_subscriptions is true, but there is no way to reach SNS here"))
	}
	if c.fetch != nil {
		out.Confirm = c.confirm
	}
	out.ConfirmUnasked = p.ConfirmSubscriptions
	return errors.Join(problems...)
}

// confirmed is the answer to a confirmation.
// https://docs.aws.amazon.com/sns/latest/api/API_ConfirmSubscription.html
type confirmed struct {
	XMLName         xml.Name `xml:"ConfirmSubscriptionResponse"`
	SubscriptionARN string   `xml:"ConfirmSubscriptionResult>SubscriptionArn"`
}

// confirm implements [handlers.Confirm].
func (c confirmer) confirm(ctx context.Context, d handlers.Delivery) error {
	at, topic, err := c.url(d)
	if err != nil {
		return err
	}
	body, err := c.fetch(ctx, at)
	switch {
	case errors.Is(err, handlers.ErrNotThere):
		return fmt.Errorf("SNS knows nothing to confirm by this token, which lapses after some days: %w", err)
	case err != nil:
		return fmt.Errorf("SNS could not be asked: %w", err)
	}
	// Whoever stands between us and SNS may answer 200 too.
	var answer confirmed
	if err := xml.Unmarshal(body, &answer); err != nil || !strings.HasPrefix(answer.SubscriptionARN, topic+":") {
		return errors.New("SNS was asked, but what came back does not say that the subscription is confirmed")
	}
	return nil
}

// url returns what confirms the subscription that a delivery is about. Its
// parts are the configuration's, but for the token.
func (c confirmer) url(d handlers.Delivery) (at, topic string, err error) {
	if d.Role != RoleConfirmation {
		return "", "", refused(handlers.ReasonTopic, "the delivery does not ask to confirm a subscription")
	}
	e, problem := parseEnvelope(d.Payload)
	if problem != "" || e.role() != RoleConfirmation {
		return "", "", refused(handlers.ReasonTopic, "the delivery is no SubscriptionConfirmation")
	}
	host, ok := c.hosts[e.TopicARN]
	switch {
	case !ok:
		return "", "", refused(handlers.ReasonTopic, "TopicArn is none of the configured topics, or in a region whose SNS is not known here")
	case !token.MatchString(e.Token):
		return "", "", refused(handlers.ReasonSignature, "Token is not of the shape that those of SNS have")
	}
	return "https://" + host + "/?Action=ConfirmSubscription&TopicArn=" + url.QueryEscape(e.TopicARN) +
		"&Token=" + url.QueryEscape(e.Token), e.TopicARN, nil
}
