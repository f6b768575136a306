// Package catalog keeps what the service knows: vmgroups, their members and
// access rows, volumes, snapshots, intents, the audit log. It is the only
// package that knows SQL. Use cases see it as volume.Store and tenancy.Store,
// two views of one database.
//
// There are two backends with one schema and one contract, which package
// catalogtest runs on both: SQLite, a file that one process owns (see
// LockState), and PostgreSQL, which several processes share.
//
// # One writer at a time
//
// An Update sees everything that earlier Updates committed and overlaps no
// other, so "read the usage, decide, insert" is exact. On SQLite that is BEGIN
// IMMEDIATE. On PostgreSQL every Update begins with pg_advisory_xact_lock: the
// lock ends with the transaction, after its commit is visible, so the next
// holder, at READ COMMITTED, reads the newest state with every statement. The
// price is that Updates of all processes queue up; they are short, hold no
// lock of the service across a disk's work, and a catalog of this size is
// never the bottleneck. What it buys: no retries in the use cases, the same
// behaviour on both backends, no anomaly to reason about.
//
// Within a process, Updates share one connection, so waiting ones take no
// connection from readers. A View is one snapshot (WAL on SQLite, REPEATABLE
// READ READ ONLY on PostgreSQL) and neither waits for an Update nor delays it.
//
// # Failures
//
// A transaction in which a statement failed cannot be committed, whatever its
// function returns. What the server undid by itself (serialization, deadlock,
// a lost connection before COMMIT was sent) is tried again a few times, so a
// function must have no effect besides the transaction. A connection lost
// during COMMIT leaves the outcome unknown: that is unavailable, and the
// caller finds out by repeating its idempotent request.
package catalog
