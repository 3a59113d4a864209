package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"

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
		return stage.Fatal(err)
	default:
		return err
	}
}

func isAny(err error, these []error) bool {
	return slices.ContainsFunc(these, func(e error) bool { return errors.Is(err, e) })
}

// isCertificate says whether the other side's certificate was refused.
func isCertificate(err error) bool {
	return errors.As(err, new(*tls.CertificateVerificationError)) ||
		errors.As(err, new(x509.UnknownAuthorityError)) || errors.As(err, new(x509.HostnameError))
}
