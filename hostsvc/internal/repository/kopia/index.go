package kopia

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"

	"mooring.dev/mooring/pkg/errkind"
)

// disk.img is an object of two levels: an index of segments, and for each an
// index of blocks. Both are kopia's indirect objects, JSON of the form
//
//	{"stream":"kopia:indirect","entries":[{"l":1048576,"o":"ID"},{"s":1048576,…}]}
//
// with offsets that are relative to the object. Version 1 of the layout:
// blocks of 1 MiB, segments of 64 blocks, the last of each perhaps shorter.
const (
	blockSize     = 1 << 20
	segmentBlocks = 64
	segmentSize   = blockSize * segmentBlocks
)

// blocksIn is how many blocks n bytes have; the last may be shorter.
func blocksIn(n int64) int { return int((n + blockSize - 1) / blockSize) }

// segmentsIn is how many segments n bytes have.
func segmentsIn(n int64) int { return int((n + segmentSize - 1) / segmentSize) }

// lengthOf is that of part i of parts of size in total bytes.
func lengthOf(i int, size, total int64) int64 { return min(size, total-int64(i)*size) }

const (
	indexHead = `{"stream":"kopia:indirect","entries":[`
	indexTail = "]}\n" // as kopia's encoder ends
)

func appendEntry(b []byte, start, length int64, first bool) []byte {
	if !first {
		b = append(b, ',')
	}
	b = append(b, '{')
	if start > 0 {
		b = strconv.AppendInt(append(b, `"s":`...), start, 10)
		b = append(b, ',')
	}
	b = strconv.AppendInt(append(b, `"l":`...), length, 10)
	return append(b, `,"o":"`...)
}

// encodeSegment is the index of a segment of length bytes.
func encodeSegment(blocks []content.ID, length int64) []byte {
	b := make([]byte, 0, len(indexHead)+len(blocks)*100+len(indexTail))
	b = append(b, indexHead...)
	for i, id := range blocks {
		b = appendEntry(b, int64(i)*blockSize, lengthOf(i, blockSize, length), i == 0)
		b = append(id.Append(b), `"}`...)
	}
	return append(b, indexTail...)
}

// encodeTop writes the index of an image of size bytes.
func encodeTop(w io.Writer, segments []object.ID, size int64) error {
	out := bufio.NewWriterSize(w, 64<<10)
	b := append(make([]byte, 0, 256), indexHead...)
	for i, id := range segments {
		b = appendEntry(b, int64(i)*segmentSize, lengthOf(i, segmentSize, size), i == 0)
		b = append(id.Append(b), `"}`...)
		if _, err := out.Write(b); err != nil {
			return err
		}
		b = b[:0]
	}
	if _, err := out.WriteString(indexTail); err != nil {
		return err
	}
	return out.Flush()
}

// errIndex is an index that we cannot have written.
var errIndex = errkind.New(errkind.Corrupt, "the index of a recovery point cannot be understood: the point is damaged or from a newer version")

// scan reads an index that begins with indexHead. encoding/json takes forty
// times as long.
func scan(r io.Reader, each func(start, length int64, id []byte) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	head := make([]byte, len(indexHead))
	if _, err := io.ReadFull(in, head); err != nil {
		return cutShort(err)
	}
	if string(head) != indexHead {
		return errIndex
	}
	for {
		e, err := in.ReadSlice('}')
		if err != nil {
			return cutShort(err)
		}
		if e[0] == ']' {
			return nil
		}
		if e[0] == ',' {
			e = e[1:]
		}
		start, e := number(bytes.TrimPrefix(e, []byte("{")), `"s":`)
		length, e := number(e, `"l":`)
		e, ok := bytes.CutPrefix(e, []byte(`"o":"`))
		id, ok2 := bytes.CutSuffix(e, []byte(`"}`))
		if start < 0 || length <= 0 || !ok || !ok2 {
			return errIndex
		}
		if err := each(start, length, id); err != nil {
			return err
		}
	}
}

// cutShort tells an index that ends too early from one that cannot be read.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, bufio.ErrBufferFull) {
		return errIndex
	}
	return err
}

// number cuts a field and its comma off; an absent one is 0, a bad one -1.
func number(b []byte, field string) (int64, []byte) {
	rest, ok := bytes.CutPrefix(b, []byte(field))
	if !ok {
		return 0, b
	}
	digits, rest, ok := bytes.Cut(rest, []byte(","))
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if !ok || err != nil {
		return -1, nil
	}
	return n, rest
}

// decodeSegment is the inverse of encodeSegment.
func decodeSegment(b []byte, length int64) ([]content.ID, error) {
	blocks := make([]content.ID, 0, blocksIn(length))
	err := scan(bytes.NewReader(b), func(start, n int64, id []byte) error {
		i := len(blocks)
		if i >= blocksIn(length) || start != int64(i)*blockSize || n != lengthOf(i, blockSize, length) {
			return errIndex
		}
		cid, err := content.ParseID(string(id))
		if err != nil {
			return errIndex
		}
		blocks = append(blocks, cid)
		return nil
	})
	if err == nil && len(blocks) != blocksIn(length) {
		err = errIndex
	}
	return blocks, err
}

// decodeTop is the inverse of encodeTop. The ids are of indirect objects.
func decodeTop(r io.Reader, size int64) ([]object.ID, error) {
	segments := make([]object.ID, 0, segmentsIn(size))
	err := scan(r, func(start, n int64, id []byte) error {
		i := len(segments)
		if i >= segmentsIn(size) || start != int64(i)*segmentSize || n != lengthOf(i, segmentSize, size) {
			return errIndex
		}
		oid, err := object.ParseID(string(id))
		if _, indirect := oid.IndexObjectID(); err != nil || !indirect {
			return errIndex
		}
		segments = append(segments, oid)
		return nil
	})
	if err == nil && len(segments) != segmentsIn(size) {
		err = errIndex
	}
	return segments, err
}

// segmentContent is the content that holds the index of a segment.
func segmentContent(id object.ID) (content.ID, error) {
	direct, ok := id.IndexObjectID()
	cid, compressed, ok2 := direct.ContentID()
	if !ok || !ok2 || compressed {
		return content.EmptyID, errIndex
	}
	return cid, nil
}
