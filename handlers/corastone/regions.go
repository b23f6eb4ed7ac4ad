package corastone

import (
	"regexp"
	"strings"
)

// regionName is the shape of an AWS region. Names like s3-us-west-2 are none:
// sns.s3-us-west-2.amazonaws.com is somebody's bucket.
var regionName = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)

// origin says where a region's SNS keeps the certificates that it signs with.
type origin struct {
	host   string
	prefix string // of their URLs
	name   string // the DNS name that they are issued to, which is not the host's
}

// originOf returns where a region's certificates come from, and whether that
// is known. It is not of AWS's isolated regions and of its European Sovereign
// Cloud, which have domains of their own.
func originOf(region string) (origin, bool) {
	if !regionName.MatchString(region) || strings.Contains(region, "-iso") {
		return origin{}, false
	}
	domain := "amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		domain = "amazonaws.com.cn"
	}
	host := "sns." + region + "." + domain
	return origin{
		host:   host,
		prefix: "https://" + host + "/SimpleNotificationService-",
		name:   signerName(region, domain),
	}, true
}

// signerName returns the DNS name in a region's certificates. Amazon documents
// it in its SDK for Java 2 only (sns-message-manager, SnsHostProvider).
func signerName(region, domain string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "sns-" + region + "." + domain
	case strings.HasPrefix(region, "us-gov-"):
		return "sns-us-gov-west-1." + domain
	case strings.HasPrefix(region, "me-"):
		return "sns-signing." + region + "." + domain
	}
	switch region {
	case "af-south-1", "ap-east-1", "ap-east-2", "ap-south-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5",
		"ap-southeast-6", "ap-southeast-7", "ca-west-1", "eu-central-2", "eu-south-1", "eu-south-2", "il-central-1",
		"mx-central-1":
		return "sns-signing." + region + "." + domain
	}
	return "sns." + domain
}

// allows reports whether url is that of a certificate of o. Nothing in it is
// left to how somebody parses URLs: whatever is before and behind the 32
// digits is known to the letter.
func (o origin) allows(url string) bool {
	digits, begins := strings.CutPrefix(url, o.prefix)
	digits, ends := strings.CutSuffix(digits, ".pem")
	return begins && ends && len(digits) == 32 && strings.Trim(digits, "0123456789abcdef") == ""
}

// regionOf returns the region in a topic's ARN, which has the shape of one.
func regionOf(topic string) string {
	return strings.Split(topic, ":")[3]
}
