package main

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/metadata/boltutil"
	bolt "go.etcd.io/bbolt"
)

// adopt: a daemon takes a millisecond and more for each blob; its database takes all of them in one transaction.
func adopt(store content.Store, database, namespace string) {
	db, err := bolt.Open(database, 0o644, &bolt.Options{Timeout: time.Second})
	die(err)
	defer db.Close()
	die(db.Update(func(tx *bolt.Tx) error {
		top := bucket(tx.CreateBucketIfNotExists([]byte("v1")))
		ns := bucket(bucket(top.CreateBucketIfNotExists([]byte(namespace))).CreateBucketIfNotExists([]byte("content")))
		blobs := bucket(ns.CreateBucketIfNotExists([]byte("blob")))
		die(store.Walk(ctx, func(info content.Info) error { return adoptBlob(blobs, info) }))
		found, err := store.ListStatuses(ctx)
		die(err)
		ingests := bucket(ns.CreateBucketIfNotExists([]byte("ingests")))
		for _, status := range found {
			die(adoptIngest(ingests, status))
		}
		say(map[string]int{"ingests": len(found)})
		return nil
	}))
}

func bucket(made *bolt.Bucket, err error) *bolt.Bucket {
	die(err)
	return made
}

func adoptBlob(blobs *bolt.Bucket, info content.Info) error {
	one := bucket(blobs.CreateBucketIfNotExists([]byte(info.Digest)))
	if err := boltutil.WriteTimestamps(one, info.CreatedAt, info.CreatedAt); err != nil {
		return err
	}
	if err := boltutil.WriteLabels(one, map[string]string{"containerd.io/gc.root": "1"}); err != nil {
		return err
	}
	size := make([]byte, binary.MaxVarintLen64)
	return one.Put([]byte("size"), size[:binary.PutVarint(size, info.Size)])
}

func adoptIngest(ingests *bolt.Bucket, status content.Status) error {
	ref := strings.SplitN(status.Ref, "/", 3)[2]
	one := bucket(ingests.CreateBucketIfNotExists([]byte(ref)))
	expires, err := time.Now().Add(24 * time.Hour).MarshalBinary()
	die(err)
	if err := one.Put([]byte("expireat"), expires); err != nil {
		return err
	}
	return one.Put([]byte("ref"), []byte(status.Ref))
}
