-- People: what a tenant says of itself and what it may have, users with their
-- sessions and tokens, transporters, who is told what, and an audit log whose
-- lines hang together. Documents are JSON in "body".

-- --- audit: one chain of lines for each vmgroup, and one of the service ---
ALTER TABLE audit ADD COLUMN acting_as TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN origin TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN group_id TEXT NOT NULL DEFAULT ''; -- names are used again, ids are not
ALTER TABLE audit ADD COLUMN link BIGINT NOT NULL DEFAULT 0;    -- number in its chain; 0: older than chains
ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';     -- of the line and the hash before it
UPDATE audit SET group_id = COALESCE((SELECT id FROM vmgroups WHERE name = audit.vmgroup), '');
CREATE INDEX audit_by_group ON audit (group_id, seq);
CREATE UNIQUE INDEX audit_chain ON audit (group_id, link) WHERE link > 0;

-- --- tenants ---
ALTER TABLE vmgroups ADD COLUMN state TEXT NOT NULL DEFAULT 'enabled'; -- enabled, disabled, deleted
ALTER TABLE vmgroups ADD COLUMN deleted BIGINT NOT NULL DEFAULT 0;     -- when, for the grace period
ALTER TABLE vmgroups ADD COLUMN body TEXT NOT NULL DEFAULT '';
ALTER TABLE vmgroups ADD COLUMN words TEXT NOT NULL DEFAULT '';   -- name and description in lower case
ALTER TABLE vmgroups ADD COLUMN contact TEXT NOT NULL DEFAULT ''; -- e-mail in lower case
UPDATE vmgroups SET words = LOWER(name || ' ' || description);
CREATE INDEX vmgroups_by_state ON vmgroups (state, name);
CREATE TABLE labels (
    group_id TEXT COLLATE BINARY NOT NULL REFERENCES vmgroups (id),
    label    TEXT COLLATE BINARY NOT NULL,
    PRIMARY KEY (group_id, label)
);
CREATE INDEX labels_by_label ON labels (label, group_id);

-- --- users ---
CREATE TABLE users (
    id       TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    group_id TEXT COLLATE BINARY NOT NULL, -- '': of the master
    name     TEXT COLLATE BINARY NOT NULL,
    role     TEXT COLLATE BINARY NOT NULL,
    enabled  BIGINT NOT NULL,
    subject  TEXT COLLATE BINARY NOT NULL, -- of an OIDC provider: issuer and subject; '' for none
    body     TEXT NOT NULL,
    UNIQUE (group_id, name)
);
CREATE UNIQUE INDEX users_by_subject ON users (group_id, subject) WHERE subject > '';

-- A session and a token are known by the hash of their secret.
CREATE TABLE sessions (
    hash    TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    user_id TEXT COLLATE BINARY NOT NULL REFERENCES users (id),
    expires BIGINT NOT NULL,
    body    TEXT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_end ON sessions (expires);

CREATE TABLE tokens (
    id      TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    hash    TEXT COLLATE BINARY NOT NULL UNIQUE,
    user_id TEXT COLLATE BINARY NOT NULL REFERENCES users (id),
    name    TEXT COLLATE BINARY NOT NULL,
    expires BIGINT NOT NULL,
    used    BIGINT NOT NULL,
    body    TEXT NOT NULL,
    UNIQUE (user_id, name)
);

-- Log-in by an OIDC provider: '' for the master, else of one vmgroup.
CREATE TABLE oidc (
    group_id TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    body     TEXT NOT NULL,
    sealed   TEXT NOT NULL
);

-- --- allowances: what of the pool is delegated to a vmgroup; -1: no bound ---
CREATE TABLE allowances (
    group_id TEXT COLLATE BINARY NOT NULL PRIMARY KEY REFERENCES vmgroups (id),
    sockets  BIGINT NOT NULL,
    vms      BIGINT NOT NULL,
    volumes  BIGINT NOT NULL,
    storage  BIGINT NOT NULL -- bytes in all repositories of the vmgroup
);
INSERT INTO allowances (group_id, sockets, vms, volumes, storage) SELECT group_id, -1, -1, -1, max_stored FROM backup_limits;
DROP TABLE backup_limits;

-- What has recovery points, so that nobody counts those: one row for each volume
-- and each disk of a VM. How many points a VM has is in a row without a disk.
CREATE TABLE protected (
    group_id  TEXT COLLATE BINARY NOT NULL,
    vm_id     TEXT COLLATE BINARY NOT NULL, -- '' for a volume
    volume_id TEXT COLLATE BINARY NOT NULL,
    parts     BIGINT NOT NULL, -- rows of points
    points    BIGINT NOT NULL, -- that people see: a set is one
    PRIMARY KEY (group_id, vm_id, volume_id)
);
INSERT INTO protected (group_id, vm_id, volume_id, parts, points)
    SELECT group_id, vm_id, volume_id, COUNT(*), SUM(CASE WHEN set_id = '' THEN 1 ELSE 0 END) FROM points GROUP BY group_id, vm_id, volume_id;
INSERT INTO protected (group_id, vm_id, volume_id, parts, points)
    SELECT group_id, vm_id, '', 0, COUNT(DISTINCT set_id) FROM points WHERE set_id > '' GROUP BY group_id, vm_id
    ON CONFLICT (group_id, vm_id, volume_id) DO UPDATE SET points = protected.points + excluded.points;

-- The newest good point of each is found by it.
CREATE INDEX points_good ON points (group_id, volume_id, created, id) WHERE state <> 'damaged' AND deleting = 0;
-- What was never verified, in its order.
CREATE INDEX points_unverified ON points (created, id) WHERE state = 'completed' AND deleting = 0;

-- --- transporters, and the vmgroups they work for ---
CREATE TABLE transporters (
    name     TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    instance TEXT COLLATE BINARY NOT NULL, -- of mooringd that last ran it
    seen     BIGINT NOT NULL,              -- on the catalog's clock
    expires  BIGINT NOT NULL,              -- online until then, unless it is seen again
    body     TEXT NOT NULL
);
CREATE TABLE group_transporters (
    group_id    TEXT COLLATE BINARY NOT NULL REFERENCES vmgroups (id),
    transporter TEXT COLLATE BINARY NOT NULL REFERENCES transporters (name),
    PRIMARY KEY (group_id, transporter)
);
CREATE INDEX groups_of_transporter ON group_transporters (transporter, group_id);
INSERT INTO transporters (name, instance, seen, expires, body) VALUES ('built-in', '', 0, 0, '{}');
INSERT INTO group_transporters (group_id, transporter) SELECT id, 'built-in' FROM vmgroups;

-- --- who is told: '' is the master ---
CREATE TABLE notify_targets (
    group_id TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    body     TEXT NOT NULL,
    sealed   TEXT NOT NULL
);

-- --- answers to requests with an idempotency key ---
CREATE TABLE idempotency (
    caller  TEXT COLLATE BINARY NOT NULL,
    key     TEXT COLLATE BINARY NOT NULL,
    request TEXT COLLATE BINARY NOT NULL, -- hash of what was asked
    answer  TEXT NOT NULL,                -- sealed; '' while it is being worked on
    expires BIGINT NOT NULL,
    PRIMARY KEY (caller, key)
);
CREATE INDEX idempotency_by_end ON idempotency (expires);

-- --- jobs that ended, counted by quarters of an hour; '' is all vmgroups ---
CREATE TABLE job_counts (
    group_id TEXT COLLATE BINARY NOT NULL,
    at       BIGINT NOT NULL, -- when the quarter begins
    kind     TEXT COLLATE BINARY NOT NULL,
    state    TEXT COLLATE BINARY NOT NULL,
    jobs     BIGINT NOT NULL,
    bytes    BIGINT NOT NULL, -- read from sources
    stored   BIGINT NOT NULL,
    PRIMARY KEY (group_id, at, kind, state)
);
CREATE INDEX job_counts_by_time ON job_counts (at);
INSERT INTO job_counts (group_id, at, kind, state, jobs, bytes, stored)
    SELECT group_id, ended - ended % 900000000000, kind, state, COUNT(*), 0, 0 FROM jobs
     WHERE group_id > '' AND state NOT IN ('queued', 'running') GROUP BY group_id, ended - ended % 900000000000, kind, state;
INSERT INTO job_counts (group_id, at, kind, state, jobs, bytes, stored)
    SELECT '', ended - ended % 900000000000, kind, state, COUNT(*), 0, 0 FROM jobs
     WHERE state NOT IN ('queued', 'running') GROUP BY ended - ended % 900000000000, kind, state;
-- The order of lists over all vmgroups.
CREATE INDEX jobs_in_order ON jobs (created, id);
-- What ended so, and when: lists over all vmgroups, and what is old enough to go.
CREATE INDEX jobs_by_state ON jobs (state, created, id);
CREATE INDEX jobs_by_end ON jobs (ended) WHERE ended > 0;
CREATE INDEX jobs_last ON jobs (kind, group_id, object, created) WHERE object > '' AND state NOT IN ('queued', 'running');
