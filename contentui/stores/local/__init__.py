"""A content store in a directory, with the layout of containerd's local store.

`docs/internals/local-store.md` has the layout on disk and how each promise is kept. The modules, in
the order in which to read them:

* `store`: `LocalStore` opens the directory, and delegates to `Ingests` and `Blobs`
* `ingests`: lists ingests; opens their writers; holders, abort, truncate, probe
* `ingest_dir`: the files of one ingest, ``ingest/<hex>/``: read as a Status, created, removed
* `writer`: `LocalWriter` opens or resumes an ingest, appends to it, and commits or closes it
* `data`: the open ``data`` file of a writer, with running hash and sync
* `copier`: appends a stream while a second thread hashes
* `blobs`: reads, deletes and stores blobs
* `blob_names`: creates the directory entries of blobs, with their labels, durably

Beneath:

* `labels`, `images`: the databases of labels and image names; `database`: SQLite for both
* `locks`: the locks of refs, and of the names of blobs
* `ownership`: whether the directory is ours to change, or that of a containerd or a service
* `sharing`: makes a store that a group shares
* `timestamps`: RFC 3339 text, as Go writes it
* `opener`: opens a ``--store`` argument

Checking a directory: `fsck` checks and repairs, `fsck_content` (blobs and ingests), `fsck_state`
(``.contentui``), `fsck_model` (findings).
"""
