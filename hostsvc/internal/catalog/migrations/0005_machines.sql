-- Whole VMs: a recovery point of a VM is a set of points, one of each disk.

ALTER TABLE points ADD COLUMN set_id TEXT COLLATE BINARY NOT NULL DEFAULT ''; -- '' for a volume's point
ALTER TABLE points ADD COLUMN vm_id TEXT COLLATE BINARY NOT NULL DEFAULT '';
ALTER TABLE points ADD COLUMN vm TEXT COLLATE BINARY NOT NULL DEFAULT '';     -- its name at the time
CREATE INDEX points_by_set ON points (set_id, id) WHERE set_id > '';
CREATE INDEX points_by_vm ON points (group_id, vm, created, id) WHERE vm > '';
CREATE INDEX points_by_vm_id ON points (vm_id, created, id) WHERE vm_id > '';

-- What the hypervisor calls the moment of the point, where the next increment
-- starts from that and not from a snapshot; '' otherwise.
ALTER TABLE bases ADD COLUMN change TEXT NOT NULL DEFAULT '';
