// Package volspec is the vocabulary of Mooring: names, sizes, identifiers,
// volume options and the words for states. It parses, validates and formats;
// it has no behaviour beyond that and does no I/O.
//
// Both ends of every channel use it, so a name or option means the same in
// the guest, in the host service and in the command line. Parsers report
// all problems of their input at once.
package volspec
