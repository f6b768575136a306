package notify

// For tests of texts and signatures.
var (
	Sign    = sign
	Subject = subject
	Body    = body
)
