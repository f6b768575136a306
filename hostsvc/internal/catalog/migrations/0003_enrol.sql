-- Enrolment of virtual machines on TLS channels: their generations, the
-- certificates that were issued, and the one-time codes that are open.

CREATE TABLE guest_vms (
    vm         TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    name       TEXT NOT NULL,
    generation BIGINT NOT NULL, -- counts enrolments
    revoked    BIGINT NOT NULL,
    refused    TEXT NOT NULL,   -- why a certificate raised an alarm, ''
    refused_at BIGINT NOT NULL
);

CREATE TABLE guest_certificates (
    serial     TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    vm         TEXT COLLATE BINARY NOT NULL REFERENCES guest_vms (vm),
    generation BIGINT NOT NULL,
    issued     BIGINT NOT NULL,
    expires    BIGINT NOT NULL,
    used       BIGINT NOT NULL,
    replaced   BIGINT NOT NULL
);
CREATE INDEX guest_certificates_by_vm ON guest_certificates (vm, issued, serial);
CREATE INDEX guest_certificates_by_expiry ON guest_certificates (expires);

CREATE TABLE guest_codes (
    vm       TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    name     TEXT NOT NULL,
    id       TEXT COLLATE BINARY NOT NULL UNIQUE,
    verifier TEXT NOT NULL,   -- in hexadecimal
    placed   BIGINT NOT NULL, -- in the VM by its hypervisor
    expires  BIGINT NOT NULL,
    attempts BIGINT NOT NULL
);
