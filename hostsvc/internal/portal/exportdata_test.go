package portal

// Attachment is for tests.
var Attachment = attachment
