package s3

import (
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"example.org/weed/internal/filer"
)

// apiError is an error of the Amazon S3 API Reference, "Error responses".
type apiError struct {
	status  int
	code    string
	message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

var (
	errAccessDenied       = &apiError{403, "AccessDenied", "Access denied."}
	errInvalidAccessKeyID = &apiError{403, "InvalidAccessKeyId", "The access key is not known here."}
	errSignature          = &apiError{403, "SignatureDoesNotMatch", "The signature is not the one that the secret key makes."}
	errExpired            = &apiError{403, "AccessDenied", "The presigned request has expired."}
	errTimeSkewed         = &apiError{403, "RequestTimeTooSkewed", "The clocks of client and server differ too much."}
	errMalformedAuth      = &apiError{400, "AuthorizationHeaderMalformed", "The authorization is not a Signature Version 4."}
	errBadDigest          = &apiError{400, "BadDigest", "The checksum does not match what was received."}
	errContentSHA256      = &apiError{400, "XAmzContentSHA256Mismatch", "The SHA-256 does not match what was received."}
	errIncompleteBody     = &apiError{400, "IncompleteBody", "The body ended early or is not well-formed."}
	errInvalidArgument    = &apiError{400, "InvalidArgument", "An argument is not valid."}
	errInvalidBucketName  = &apiError{400, "InvalidBucketName", "The bucket name is not valid."}
	errKeyTooLong         = &apiError{400, "KeyTooLongError", "The key is longer than 1024 bytes."}
	errMalformedXML       = &apiError{400, "MalformedXML", "The XML is not well-formed."}
	errInvalidPart        = &apiError{400, "InvalidPart", "A part is missing or has another ETag."}
	errPartOrder          = &apiError{400, "InvalidPartOrder", "The parts are not in ascending order."}
	errTooSmall           = &apiError{400, "EntityTooSmall", "Only the last part may be smaller than 5 MiB."}
	errNoSuchBucket       = &apiError{404, "NoSuchBucket", "The bucket does not exist."}
	errNoSuchKey          = &apiError{404, "NoSuchKey", "The key does not exist."}
	errNoSuchUpload       = &apiError{404, "NoSuchUpload", "The multipart upload does not exist."}
	errMethodNotAllowed   = &apiError{405, "MethodNotAllowed", "The method is not allowed here."}
	errBucketExists       = &apiError{409, "BucketAlreadyOwnedByYou", "The bucket exists already."}
	errBucketNotEmpty     = &apiError{409, "BucketNotEmpty", "The bucket is not empty."}
	errPrecondition       = &apiError{412, "PreconditionFailed", "A condition of the request does not hold."}
	errInvalidRange       = &apiError{416, "InvalidRange", "The range lies outside of the object."}
	errInternal           = &apiError{500, "InternalError", "An internal error; please try again."}
	errNotImplemented     = &apiError{501, "NotImplemented", "This server does not do that."}
)

// toAPIError finds what to tell the client.
func toAPIError(err error) *apiError {
	var known *apiError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, filer.ErrNotFound):
		return errNoSuchKey
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errIncompleteBody
	}
	slog.Error("s3", "error", err)
	return errInternal
}

type errorDocument struct {
	XMLName   xml.Name `xml:"Error"`
	Code      string
	Message   string
	Resource  string
	RequestID string `xml:"RequestId"`
}

func writeXML(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, xml.Header) // the client has gone if these fail
	_ = xml.NewEncoder(w).Encode(v)
}
