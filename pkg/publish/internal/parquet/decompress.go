package parquet

import (
	"bytes"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// decompressor decompresses the pages of a file. Unlike the library's codecs it makes as many bytes as a page header declares, and no more.
type decompressor struct {
	in     bytes.Reader
	gzip   *gzip.Reader
	zstd   *zstd.Decoder
	brotli *brotli.Reader
	window uint64 // the largest of zstd
}

func (d *decompressor) close() {
	if d.zstd != nil {
		d.zstd.Close()
		d.zstd = nil
	}
}

// decode fills dst with what src decompresses to. It fails if that has another length.
func (d *decompressor) decode(codec format.CompressionCodec, dst, src []byte) error {
	switch codec {
	case format.Uncompressed:
		if len(src) != len(dst) {
			return fmt.Errorf("an uncompressed page has %d bytes, its header says %d", len(src), len(dst))
		}
		copy(dst, src)
		return nil
	case format.Snappy:
		n, err := snappy.DecodedLen(src)
		if err == nil && n != len(dst) {
			err = errLength
		}
		if err == nil {
			_, err = snappy.Decode(dst, src)
		}
		return err
	case format.Lz4Raw:
		n, err := lz4.UncompressBlock(src, dst)
		if err == nil && n != len(dst) {
			err = errLength
		}
		return err
	}
	d.in.Reset(src)
	r, err := d.reader(codec)
	if err != nil {
		return err
	}
	if _, err := io.ReadFull(r, dst); err != nil {
		return err
	}
	var more [1]byte
	if n, err := r.Read(more[:]); n > 0 || err != io.EOF {
		return errLength
	}
	return nil
}

var errLength = fmt.Errorf("it decompresses to another length than its header says")

// reader returns a reader of what d.in decompresses to.
func (d *decompressor) reader(codec format.CompressionCodec) (io.Reader, error) {
	switch codec {
	case format.Gzip:
		if d.gzip == nil {
			d.gzip = new(gzip.Reader)
		}
		return d.gzip, d.gzip.Reset(&d.in)
	case format.Zstd:
		if d.zstd == nil {
			z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(d.window))
			if err != nil {
				return nil, err
			}
			d.zstd = z
		}
		return d.zstd, d.zstd.Reset(&d.in)
	case format.Brotli:
		if d.brotli == nil {
			d.brotli = brotli.NewReader(nil)
		}
		return d.brotli, d.brotli.Reset(&d.in)
	}
	return nil, fmt.Errorf("its codec %v is not read", codec)
}

// readable reports whether decode knows the codec.
func readable(codec format.CompressionCodec) bool {
	switch codec {
	case format.Uncompressed, format.Snappy, format.Gzip, format.Zstd, format.Brotli, format.Lz4Raw:
		return true
	}
	return false
}
