-- What a guest finds the disk by, as the hypervisor said at the last attachment,
-- '' before the first. Until now it followed from the id.
ALTER TABLE volumes ADD COLUMN serial TEXT COLLATE BINARY NOT NULL DEFAULT '';
UPDATE volumes SET serial = substr(replace(id, '-', ''), 1, 20);
