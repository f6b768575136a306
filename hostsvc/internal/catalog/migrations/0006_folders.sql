-- Folders of VMs that vmgroups may protect. None holds another that is another
-- vmgroup's; who grants one sees to that.
CREATE TABLE vm_folders (
    folder   TEXT COLLATE BINARY NOT NULL PRIMARY KEY,
    group_id TEXT COLLATE BINARY NOT NULL REFERENCES vmgroups (id)
);
CREATE INDEX vm_folders_by_group ON vm_folders (group_id, folder);
