// Command peer drives containerd's own content/local, for comparison and for interoperation.
//
//	peer ROOT ingest FILE          one blob through content.WriteBlob (fsync as containerd does)
//	peer ROOT small DIR            one blob per file of DIR, one after the other
//	peer ROOT origin N             the origin's BenchmarkIngests: N blobs of each of four lengths
//	peer ROOT walk [-q]            every blob: digest, size, time
//	peer ROOT statuses [REPEAT]    ListStatuses; the seconds of each repetition are printed
//	peer ROOT live N [PREFIX]      N ingests begun and closed, of 64 bytes each
//	peer ROOT adopt META.DB NS     enters all blobs and ingests of ROOT into a stopped daemon's database
//	peer ROOT make                 blobs and ingests of known content
//	peer ROOT check                reads and verifies every blob, prints every ingest
//	peer ROOT resume REF FILE      resumes an ingest from FILE and commits it
//
// Results are JSON lines, except for walk.
package main

import (
	"bufio"
	"bytes"
	"context"
	_ "crypto/sha256" // what digest.Digest needs
	_ "crypto/sha512"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/content/local"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var ctx = context.Background()

func die(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func say(value interface{}) { die(json.NewEncoder(os.Stdout).Encode(value)) }

func ingest(store content.Store, name string) {
	file, err := os.Open(name)
	die(err)
	defer file.Close()
	die(content.WriteBlob(ctx, store, "ref-"+filepath.Base(name), file, ocispec.Descriptor{}))
}

func small(store content.Store, dir string) {
	entries, err := os.ReadDir(dir)
	die(err)
	begun := time.Now()
	for _, entry := range entries {
		ingest(store, filepath.Join(dir, entry.Name()))
	}
	say(map[string]interface{}{"blobs": len(entries), "seconds": time.Since(begun).Seconds()})
}

// origin: content is made before the clock runs, as the origin's benchmark does.
func origin(store content.Store, count int) {
	for _, limit := range []int{1 << 10, 4 << 10, 512 << 10, 1 << 20} {
		blobs := make([][]byte, count)
		descs := make([]ocispec.Descriptor, count)
		random := rand.New(rand.NewSource(int64(limit)))
		var total int64
		for i := range blobs {
			blobs[i] = make([]byte, random.Intn(limit))
			random.Read(blobs[i])
			descs[i] = ocispec.Descriptor{Size: int64(len(blobs[i])), Digest: digest.FromBytes(blobs[i])}
			total += int64(len(blobs[i]))
		}
		begun := time.Now()
		for i, blob := range blobs {
			die(content.WriteBlob(ctx, store, fmt.Sprintf("ref-%d-%d", limit, i), bytes.NewReader(blob), descs[i]))
		}
		say(map[string]interface{}{"below": limit, "blobs": count, "bytes": total, "seconds": time.Since(begun).Seconds()})
	}
}

func walk(store content.Store, quiet bool) {
	out := bufio.NewWriterSize(os.Stdout, 1<<16)
	defer out.Flush()
	die(store.Walk(ctx, func(info content.Info) error {
		if quiet {
			fmt.Fprintln(out, info.Digest)
		} else {
			fmt.Fprintf(out, "%s\t%d\t%s\n", info.Digest, info.Size, info.CreatedAt.UTC().Format(time.RFC3339Nano))
		}
		return nil
	}))
}

func statuses(store content.Store, repeat int) {
	for i := 0; i < repeat; i++ {
		begun := time.Now()
		found, err := store.ListStatuses(ctx)
		die(err)
		say(map[string]interface{}{"ingests": len(found), "seconds": time.Since(begun).Seconds()})
	}
}

func begin(store content.Store, ref string, total int64, data []byte) {
	writer, err := store.Writer(ctx, content.WithRef(ref), content.WithDescriptor(ocispec.Descriptor{Size: total}))
	die(err)
	_, err = writer.Write(data)
	die(err)
	die(writer.Close())
}

func live(store content.Store, count int, prefix string) {
	data := bytes.Repeat([]byte{'x'}, 64)
	for i := 0; i < count; i++ {
		begin(store, fmt.Sprintf("%slayer-sha256:%064x", prefix, i), 1<<20, data)
	}
}

func pattern(size int) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i * 7)
	}
	return data
}

func makeSample(store content.Store) {
	for _, size := range []int{0, 1, 4096, 3 << 20} {
		ref := fmt.Sprintf("blob-%d", size)
		die(content.WriteBlob(ctx, store, ref, bytes.NewReader(pattern(size)), ocispec.Descriptor{}))
	}
	begin(store, "resumable", 1<<20, pattern(700_000))
	begin(store, "undeclared", 0, pattern(10))
	begin(store, "odd/ref \n\t\u00e9", 100, nil)
}

func check(store content.Store) {
	die(store.Walk(ctx, func(info content.Info) error {
		reader, err := store.ReaderAt(ctx, ocispec.Descriptor{Digest: info.Digest})
		if err != nil {
			return err
		}
		defer reader.Close()
		found, err := info.Digest.Algorithm().FromReader(io.NewSectionReader(reader, 0, reader.Size()))
		say(map[string]interface{}{"digest": info.Digest, "size": info.Size, "sound": found == info.Digest, "committed_ns": info.CreatedAt.UnixNano()})
		return err
	}))
	found, err := store.ListStatuses(ctx)
	die(err)
	for _, status := range found {
		_, err := store.Status(ctx, status.Ref)
		die(err)
		say(map[string]interface{}{"ref": status.Ref, "offset": status.Offset, "total": status.Total,
			"started_ns": status.StartedAt.UnixNano(), "updated_ns": status.UpdatedAt.UnixNano()})
	}
}

func resume(store content.Store, ref, name string) {
	data, err := os.ReadFile(name)
	die(err)
	status, err := store.Status(ctx, ref)
	die(err)
	writer, err := content.OpenWriter(ctx, store, content.WithRef(ref), content.WithDescriptor(ocispec.Descriptor{Size: status.Total}))
	die(err)
	opened, err := writer.Status()
	die(err)
	_, err = writer.Write(data[opened.Offset:])
	die(err)
	expected := digest.FromBytes(data)
	die(writer.Commit(ctx, int64(len(data)), expected))
	say(map[string]interface{}{"resumed_at": opened.Offset, "digest": expected})
}

func number(args []string, fallback int) int {
	if len(args) == 0 {
		return fallback
	}
	value, err := strconv.Atoi(args[0])
	die(err)
	return value
}

func main() {
	if len(os.Args) < 3 {
		die(fmt.Errorf("usage: peer ROOT ingest|small|origin|walk|statuses|live|adopt|make|check|resume ..."))
	}
	store, err := local.NewStore(os.Args[1])
	die(err)
	verb, args := os.Args[2], os.Args[3:]
	switch verb {
	case "ingest":
		ingest(store, args[0])
	case "small":
		small(store, args[0])
	case "origin":
		origin(store, number(args, 100))
	case "walk":
		walk(store, len(args) > 0 && args[0] == "-q")
	case "statuses":
		statuses(store, number(args, 1))
	case "live":
		prefix := ""
		if len(args) > 1 {
			prefix = args[1]
		}
		live(store, number(args, 1000), prefix)
	case "adopt":
		adopt(store, args[0], args[1])
	case "make":
		makeSample(store)
	case "check":
		check(store)
	case "resume":
		resume(store, args[0], args[1])
	default:
		die(fmt.Errorf("no such verb: %s", verb))
	}
}
