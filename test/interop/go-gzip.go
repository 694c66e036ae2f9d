// Command go-gzip compresses what it reads from stdin with compress/gzip of its Go.
//
// A request is a level (int8), the size of the longest call of Write (uint32; 0: all at once), a seed (uint32) and the
// size of the input (uint32), all in little-endian order, and the input. Calls are as long as pseudo-random numbers
// below that size say, the same as in go-deflate.test.ts. An answer is a size (uint32) and the output.
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"log"
	"os"
)

type request struct {
	Level                int8
	Longest, Seed, Bytes uint32
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<16)
	for {
		var asked request
		if err := binary.Read(in, binary.LittleEndian, &asked); err == io.EOF {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		input := make([]byte, asked.Bytes)
		if _, err := io.ReadFull(in, input); err != nil {
			log.Fatal(err)
		}
		var output bytes.Buffer
		output.Write(make([]byte, 4))
		if err := compress(&output, input, asked); err != nil {
			log.Fatal(err)
		}
		binary.LittleEndian.PutUint32(output.Bytes(), uint32(output.Len()-4))
		if _, err := os.Stdout.Write(output.Bytes()); err != nil {
			log.Fatal(err)
		}
	}
}

func compress(to io.Writer, input []byte, asked request) error {
	writer, err := gzip.NewWriterLevel(to, int(asked.Level))
	if err != nil {
		return err
	}
	state := asked.Seed
	for len(input) > 0 {
		size := uint32(len(input))
		if asked.Longest > 0 {
			// Marsaglia, "Xorshift RNGs" (2003).
			state ^= state << 13
			state ^= state >> 17
			state ^= state << 5
			if cut := state%asked.Longest + 1; cut < size {
				size = cut
			}
		}
		if _, err := writer.Write(input[:size]); err != nil {
			return err
		}
		input = input[size:]
	}
	return writer.Close()
}
