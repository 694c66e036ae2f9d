// Command klauspost-gzip compresses what it reads from stdin with compress/gzip of its Go, or with klauspost's gzip or pgzip.
//
// A request is a kind (0: compress/gzip, 1: klauspost/compress/gzip, 2: klauspost/pgzip), a level and the number of calls of
// Write (int32 each), the sizes of the calls (uint32 each), all in little-endian order, and the input. An answer is a size
// (uint32) and the output.
package main

import (
	"bufio"
	"bytes"
	stdgzip "compress/gzip"
	"encoding/binary"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/pgzip"
)

func writer(kind, level int32, out io.Writer) (io.WriteCloser, error) {
	switch kind {
	case 0:
		return stdgzip.NewWriterLevel(out, int(level))
	case 1:
		return gzip.NewWriterLevel(out, int(level))
	}
	return pgzip.NewWriterLevel(out, int(level))
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<16)
	out := bufio.NewWriter(os.Stdout)
	for {
		var head [3]int32
		if binary.Read(in, binary.LittleEndian, &head) != nil {
			return
		}
		sizes := make([]uint32, head[2])
		check(binary.Read(in, binary.LittleEndian, sizes))
		var made bytes.Buffer
		w, err := writer(head[0], head[1], &made)
		check(err)
		for _, size := range sizes {
			part := make([]byte, size)
			_, err := io.ReadFull(in, part)
			check(err)
			_, err = w.Write(part)
			check(err)
		}
		check(w.Close())
		check(binary.Write(out, binary.LittleEndian, uint32(made.Len())))
		_, err = out.Write(made.Bytes())
		check(err)
		check(out.Flush())
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
