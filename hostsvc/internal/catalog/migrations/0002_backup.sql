-- Backup: repositories, policies, recovery points, the snapshots that the
-- next increment starts from, jobs, alarms. Documents are JSON in "body";
-- columns are what is looked up, ordered or locked on.

-- '' for a user's snapshot, which counts in the quota; otherwise whose it is.
ALTER TABLE snapshots ADD COLUMN owner TEXT NOT NULL DEFAULT '';
CREATE INDEX snapshots_by_owner ON snapshots (owner) WHERE owner > '';

-- The recovery point that a read-only volume shows without a disk of its own,
-- '' for every other volume.
ALTER TABLE volumes ADD COLUMN view_of TEXT NOT NULL DEFAULT '';
CREATE INDEX volumes_views ON volumes (group_id, name, datastore, id) WHERE view_of > '';
-- What finishing an intent needs to know beyond its other columns, JSON or ''.
ALTER TABLE volumes ADD COLUMN op_detail TEXT NOT NULL DEFAULT '';

CREATE TABLE repositories (
    id       TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    group_id TEXT COLLATE BINARY NOT NULL, -- '': prepared by the administrator, not assigned yet
    name     TEXT COLLATE BINARY NOT NULL,
    state    TEXT COLLATE BINARY NOT NULL,
    place    TEXT COLLATE BINARY NOT NULL, -- canonical address: one owner each
    stored   BIGINT NOT NULL,              -- bytes in the place, as last measured
    reserved BIGINT NOT NULL,              -- bytes that running jobs may add
    body     TEXT NOT NULL,
    UNIQUE (group_id, name)
);
CREATE UNIQUE INDEX repositories_by_place ON repositories (place);

-- Secrets are sealed with the master key; see package keyring.
CREATE TABLE repository_secrets (
    repository_id TEXT COLLATE BINARY NOT NULL PRIMARY KEY REFERENCES repositories (id),
    sealed        TEXT NOT NULL
);

CREATE TABLE backup_limits (
    group_id   TEXT COLLATE BINARY NOT NULL PRIMARY KEY REFERENCES vmgroups (id),
    max_stored BIGINT NOT NULL -- bytes in all repositories of the vmgroup
);

CREATE TABLE policies (
    id       TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    group_id TEXT COLLATE BINARY NOT NULL REFERENCES vmgroups (id),
    name     TEXT COLLATE BINARY NOT NULL,
    source   TEXT COLLATE BINARY NOT NULL, -- file that declares it, '' when made by hand
    body     TEXT NOT NULL,
    UNIQUE (group_id, name)
);

-- When each schedule of a policy was last due and begun.
CREATE TABLE schedule_marks (
    policy_id TEXT COLLATE BINARY NOT NULL,
    task      TEXT COLLATE BINARY NOT NULL, -- backup, verify, drill, copy
    since     BIGINT NOT NULL,              -- the schedule counts from here
    last      BIGINT NOT NULL,              -- newest due time that was enqueued
    PRIMARY KEY (policy_id, task)
);

-- A cache of what the repositories hold, with what is only known here.
CREATE TABLE points (
    id            TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    group_id      TEXT COLLATE BINARY NOT NULL REFERENCES vmgroups (id),
    repository_id TEXT COLLATE BINARY NOT NULL REFERENCES repositories (id),
    volume_id     TEXT COLLATE BINARY NOT NULL,
    volume        TEXT COLLATE BINARY NOT NULL, -- name without datastore, at the time
    datastore     TEXT COLLATE BINARY NOT NULL,
    created       BIGINT NOT NULL,
    state         TEXT COLLATE BINARY NOT NULL,
    hold          BIGINT NOT NULL,
    deleting      BIGINT NOT NULL, -- its removal has begun
    body          TEXT NOT NULL
);
CREATE INDEX points_by_group ON points (group_id, created, id);
CREATE INDEX points_by_volume ON points (group_id, volume, created, id);
CREATE INDEX points_by_repository ON points (repository_id, volume_id, created);

-- The snapshot and point that the next increment of a volume starts from.
CREATE TABLE bases (
    volume_id     TEXT COLLATE BINARY NOT NULL,
    repository_id TEXT COLLATE BINARY NOT NULL,
    snapshot_id   TEXT COLLATE BINARY NOT NULL,
    point_id      TEXT COLLATE BINARY NOT NULL,
    size          BIGINT NOT NULL,
    PRIMARY KEY (volume_id, repository_id)
);

-- Jobs are rows: queued → running → done, partial, failed, canceled. A running
-- one is leased to an instance; fence grows with every lease.
CREATE TABLE jobs (
    id       TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    group_id TEXT COLLATE BINARY NOT NULL,
    kind     TEXT COLLATE BINARY NOT NULL,
    object   TEXT COLLATE BINARY NOT NULL, -- only one job of a kind runs on an object
    state    TEXT COLLATE BINARY NOT NULL,
    created  BIGINT NOT NULL,
    begun    BIGINT NOT NULL,
    ended    BIGINT NOT NULL,
    priority BIGINT NOT NULL,
    policy_id TEXT COLLATE BINARY NOT NULL,
    owner    TEXT COLLATE BINARY NOT NULL, -- instance that runs it
    fence    BIGINT NOT NULL,
    expires  BIGINT NOT NULL,              -- of the lease, on the catalog's clock
    cancel   BIGINT NOT NULL,              -- somebody asked for its end
    unique_key TEXT COLLATE BINARY NOT NULL, -- '' or what makes a repeated request the same job
    body     TEXT NOT NULL
);
CREATE INDEX jobs_by_group ON jobs (group_id, created, id);
CREATE INDEX jobs_open ON jobs (state, priority, created) WHERE state IN ('queued', 'running');
CREATE UNIQUE INDEX jobs_by_key ON jobs (unique_key) WHERE unique_key > '';
CREATE INDEX jobs_by_object ON jobs (object, kind, created) WHERE object > '';
CREATE INDEX jobs_by_policy ON jobs (policy_id, created) WHERE policy_id > '';

CREATE TABLE alarms (
    id       TEXT COLLATE BINARY NOT NULL PRIMARY KEY, -- kind and object: an alarm is raised once
    group_id TEXT COLLATE BINARY NOT NULL,
    kind     TEXT COLLATE BINARY NOT NULL,
    object   TEXT NOT NULL,
    since    BIGINT NOT NULL,
    told     BIGINT NOT NULL,
    detail   TEXT NOT NULL
);
CREATE INDEX alarms_by_group ON alarms (group_id, since);
