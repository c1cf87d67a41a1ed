package main

import (
	"bytes"
	"io"
	"os"
	"sort"
)

// Output carries what the program prints to the engine, without secrets.
type Output struct {
	writer *os.File
	done   chan struct{}
}

func newOutput(target io.Writer, secrets []Secret) (*Output, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	output := &Output{writer: writer, done: make(chan struct{})}
	go func() {
		defer close(output.done)
		redactor := newRedactor(secrets)
		block := make([]byte, 1<<16)
		for {
			count, err := reader.Read(block)
			_, _ = target.Write(redactor.feed(block[:count]))
			if err != nil {
				_, _ = target.Write(redactor.close())
				return
			}
		}
	}()
	return output, nil
}

// finish returns when everything that was printed has been passed on.
func (output *Output) finish() {
	<-output.done
}

// Redactor replaces secrets in a stream, wherever its pieces are cut.
type Redactor struct {
	forms   [][]byte
	longest int
	held    []byte
}

func newRedactor(secrets []Secret) *Redactor {
	redactor := &Redactor{}
	for _, secret := range secrets {
		redactor.forms = append(redactor.forms, secret.forms...)
	}
	sort.Slice(redactor.forms, func(i, j int) bool { return len(redactor.forms[i]) > len(redactor.forms[j]) })
	redactor.longest = longestOf(redactor.forms)
	return redactor
}

// feed returns what can be shown after another piece: all but an end that may be the beginning of a secret.
func (redactor *Redactor) feed(piece []byte) []byte {
	if redactor.longest == 0 {
		return piece
	}
	data := append(redactor.held, piece...)
	shown, position := redactor.replace(data, redactor.safe(data))
	redactor.held = append([]byte{}, data[position:]...)
	return shown
}

func (redactor *Redactor) close() []byte {
	shown, _ := redactor.replace(redactor.held, len(redactor.held))
	redactor.held = nil
	return shown
}

// replace returns data up to cut with every secret that begins before it replaced, and where the rest begins.
func (redactor *Redactor) replace(data []byte, cut int) ([]byte, int) {
	shown := []byte{}
	position := 0
	for position < cut {
		form := redactor.at(data[position:])
		if form == nil {
			shown = append(shown, data[position])
			position++
			continue
		}
		shown = append(shown, mask...)
		position += len(form)
	}
	return shown, position
}

func (redactor *Redactor) at(data []byte) []byte {
	for _, form := range redactor.forms {
		if bytes.HasPrefix(data, form) {
			return form
		}
	}
	return nil
}

// safe returns where the first end of data begins that a longer form begins with.
func (redactor *Redactor) safe(data []byte) int {
	for index := max(0, len(data)-redactor.longest+1); index < len(data); index++ {
		rest := data[index:]
		for _, form := range redactor.forms {
			if len(form) > len(rest) && bytes.HasPrefix(form, rest) {
				return index
			}
		}
	}
	return len(data)
}
