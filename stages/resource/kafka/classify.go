package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"millrace/engine/stage"
)

// badRecord are the answers that are about a record: sending it again cannot
// help.
var badRecord = []error{kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp}

// needsPerson are the answers that only a person can change.
var needsPerson = []error{
	kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
	kerr.TransactionalIDAuthorizationFailed, kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism,
	kerr.IllegalSaslState, kerr.SecurityDisabled, kerr.UnsupportedVersion, kerr.InvalidTopicException,
	kerr.InvalidPartitions, kerr.InvalidConfig, kerr.PolicyViolation, kerr.InvalidRequiredAcks,
}

// Classify gives a Kafka client's error the class that the engine acts on:
// Bad when a record is to blame, Fatal when a person is needed (rights, login,
// certificates), else weather. Errors that have a class keep it.
func Classify(err error) error {
	switch {
	case err == nil || stage.ClassOf(err) != stage.Retryable:
		return err
	case isAny(err, badRecord):
		return stage.Bad(err)
	case isAny(err, needsPerson), isCertificate(err):
		return stage.Fatal(advised(err))
	case errors.As(err, new(tls.RecordHeaderError)):
		return fmt.Errorf("%w; the other side speaks no TLS: use the brokers' TLS port, or set tls: false", err)
	default:
		return err
	}
}

func isAny(err error, these []error) bool {
	return slices.ContainsFunc(these, func(e error) bool { return errors.Is(err, e) })
}

// isCertificate says whether one side refused the certificate of the other.
func isCertificate(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) ||
		errors.As(err, new(x509.UnknownAuthorityError)) || errors.As(err, new(x509.HostnameError)) || wantsCertificate(err)
}

// wantsCertificate says whether the broker refused ours, or that we have none.
// The library gives its alerts no type of their own.
func wantsCertificate(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && strings.Contains(op.Err.Error(), "certificate")
}

// certificateAdvice says what to set for an error about certificates; "": it is
// another. key is the TLS of the peer.
func certificateAdvice(err error, key, peer string) string {
	switch {
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return fmt.Sprintf("set %s.ca of the kafka resource to the certificate file of the authority that signed the %s's", key, peer)
	case errors.As(err, new(x509.HostnameError)):
		return fmt.Sprintf("set %s.server_name of the kafka resource to a name in the %s's certificate", key, peer)
	case wantsCertificate(err):
		return fmt.Sprintf("the %s wants a certificate that it trusts: set %s.cert and %[2]s.key of the kafka resource", peer, key)
	}
	return ""
}

// advised says what to set.
func advised(err error) error {
	advice := certificateAdvice(err, "tls", "broker")
	switch {
	case advice != "":
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		advice = "check sasl.user and sasl.password of the kafka resource"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		advice = "set sasl.mechanism of the kafka resource to one that the brokers offer"
	default:
		return err
	}
	return fmt.Errorf("%w; %s", err, advice)
}
