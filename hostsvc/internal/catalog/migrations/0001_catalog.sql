-- The first schema. Times are nanoseconds since 1970, sizes bytes, truth
-- values 0 or 1, absence the empty text or 0. Every text that is ordered or
-- looked up compares byte by byte on both backends.

CREATE TABLE vmgroups (
    id                TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    name              TEXT COLLATE BINARY NOT NULL UNIQUE,
    description       TEXT NOT NULL,
    default_datastore TEXT COLLATE BINARY NOT NULL,
    source            TEXT COLLATE BINARY NOT NULL,
    removing          BIGINT NOT NULL
);

CREATE TABLE members (
    vm       TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    name     TEXT COLLATE BINARY NOT NULL,
    group_id TEXT COLLATE BINARY NOT NULL REFERENCES vmgroups (id)
);
CREATE INDEX members_by_group ON members (group_id, name);

CREATE TABLE access_rows (
    group_id     TEXT COLLATE BINARY NOT NULL REFERENCES vmgroups (id),
    datastore    TEXT COLLATE BINARY NOT NULL,
    allow_create BIGINT NOT NULL,
    max_size     BIGINT NOT NULL,
    total_size   BIGINT NOT NULL,
    PRIMARY KEY (group_id, datastore)
);

CREATE TABLE volumes (
    id               TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    group_id         TEXT COLLATE BINARY NOT NULL REFERENCES vmgroups (id),
    datastore        TEXT COLLATE BINARY NOT NULL,
    name             TEXT COLLATE BINARY NOT NULL,
    home             TEXT COLLATE BINARY NOT NULL,
    state            TEXT COLLATE BINARY NOT NULL,
    format           TEXT COLLATE BINARY NOT NULL,
    size             BIGINT NOT NULL,
    spec             TEXT NOT NULL,
    fs_uuid          TEXT COLLATE BINARY NOT NULL,
    clone_from       TEXT COLLATE BINARY NOT NULL,
    created          BIGINT NOT NULL,
    created_by       TEXT COLLATE BINARY NOT NULL,
    used             BIGINT NOT NULL,
    fs_size          BIGINT NOT NULL,
    fs_note          TEXT NOT NULL,
    trashed_at       BIGINT NOT NULL,
    health           TEXT NOT NULL,
    meta_stale       BIGINT NOT NULL,
    holder_vm        TEXT COLLATE BINARY NOT NULL,
    holder_vm_name   TEXT COLLATE BINARY NOT NULL,
    holder_boot_id   TEXT COLLATE BINARY NOT NULL,
    holder_installation TEXT COLLATE BINARY NOT NULL,
    holder_epoch     BIGINT NOT NULL,
    holder_read_only BIGINT NOT NULL,
    holder_since     BIGINT NOT NULL,
    op_kind          TEXT COLLATE BINARY NOT NULL,
    op_instance      TEXT COLLATE BINARY NOT NULL,
    op_size          BIGINT NOT NULL,
    op_snapshot      TEXT COLLATE BINARY NOT NULL,
    op_vm            TEXT COLLATE BINARY NOT NULL,
    op_started       BIGINT NOT NULL
);
-- One live volume per name; the trash has no names.
CREATE UNIQUE INDEX volumes_by_key ON volumes (group_id, datastore, name) WHERE state IN ('creating', 'ready');
-- The order of listings, and a vmgroup's part of it.
CREATE INDEX volumes_in_order ON volumes (group_id, name, datastore, id);
CREATE INDEX volumes_by_datastore ON volumes (datastore, group_id);
-- What the reconciler asks for every few seconds is always a small part, and
-- is listed in the same order.
CREATE INDEX volumes_held ON volumes (group_id, name, datastore, id) WHERE holder_vm > '';
CREATE INDEX volumes_busy ON volumes (group_id, name, datastore, id) WHERE op_kind > '';
CREATE INDEX volumes_stale ON volumes (group_id, name, datastore, id) WHERE meta_stale = 1;
CREATE INDEX volumes_by_holder ON volumes (holder_vm) WHERE holder_vm > '';
CREATE INDEX volumes_unsettled ON volumes (state) WHERE state <> 'ready';

CREATE TABLE snapshots (
    id        TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    volume_id TEXT COLLATE BINARY NOT NULL REFERENCES volumes (id),
    name      TEXT COLLATE BINARY NOT NULL,
    size      BIGINT NOT NULL,
    created   BIGINT NOT NULL,
    UNIQUE (volume_id, name)
);

CREATE TABLE datastores (
    name TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    id   TEXT COLLATE BINARY NOT NULL
);

CREATE TABLE instances (
    id           TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    installation TEXT COLLATE BINARY NOT NULL,
    replaced     BIGINT NOT NULL,
    expires      BIGINT NOT NULL
);
CREATE INDEX instances_by_installation ON instances (installation);

CREATE TABLE audit (
    seq     BIGINT NOT NULL PRIMARY KEY,
    time    BIGINT NOT NULL,
    actor   TEXT COLLATE BINARY NOT NULL,
    vmgroup TEXT COLLATE BINARY NOT NULL,
    action  TEXT COLLATE BINARY NOT NULL,
    object  TEXT NOT NULL,
    outcome TEXT COLLATE BINARY NOT NULL,
    detail  TEXT NOT NULL,
    request TEXT COLLATE BINARY NOT NULL
);
CREATE INDEX audit_by_vmgroup ON audit (vmgroup, seq);

CREATE TABLE settings (
    name  TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
