package driver

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"mooring.dev/mooring/pkg/durable"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

const (
	cacheFile    = "volumes.json"
	cacheVersion = 1
)

// Cache remembers what the host service last said of the volumes: Docker
// forgets a volume whose Get is answered with an error, so Get must have an
// answer while the service is away, also after a reboot. Flush makes it
// durable; what was not flushed is only missing, and a missing volume's Get
// ends in a broken connection, which Docker forgives. Safe for concurrent use.
type Cache struct {
	path string

	mu      sync.Mutex // guards what follows
	clock   uint64     // counts changes; entries carry the time of theirs
	volumes map[string]entry
	short   map[string]string // short name → full name, as the service resolved it
	ids     map[volspec.VolumeID]string
	gone    map[string]uint64 // names removed since the last whole listing
	full    bool              // a whole listing was seen
	dirty   uint64            // clock of the last change that must survive a restart

	write   sync.Mutex // one writer; taken before mu; guards written
	written uint64
}

type entry struct {
	wire.Volume
	at uint64
}

type cacheDoc struct {
	Version int               `json:"version"`
	Full    bool              `json:"full"`
	Volumes []wire.Volume     `json:"volumes"`
	Short   map[string]string `json:"short"`
}

// OpenCache reads the cache in dir, which must exist. A missing file is an
// empty cache. One that cannot be read leaves an empty and usable cache, with
// an error of kind corrupt: the next answers of the service fill it.
func OpenCache(dir string) (*Cache, error) {
	c := &Cache{
		path: filepath.Join(dir, cacheFile), volumes: map[string]entry{}, short: map[string]string{},
		ids: map[volspec.VolumeID]string{}, gone: map[string]uint64{},
	}
	data, err := os.ReadFile(c.path)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	var doc cacheDoc
	if err == nil {
		err = json.Unmarshal(data, &doc)
	}
	if err == nil && doc.Version != cacheVersion {
		err = fmt.Errorf("it has version %d, this plugin reads version %d", doc.Version, cacheVersion)
	}
	if err != nil {
		return c, errkind.Wrap(errkind.Corrupt, err, "the cache %s cannot be read, it is filled again", c.path)
	}
	for _, v := range doc.Volumes {
		c.put(v)
	}
	for s, full := range doc.Short {
		if _, ok := c.volumes[full]; ok {
			c.short[s] = full
		}
	}
	c.full, c.dirty = doc.Full, 0
	return c, nil
}

// Put remembers v, which the service found under the name asked.
func (c *Cache) Put(asked volspec.Name, v wire.Volume) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(v)
	if asked.Datastore == "" && c.short[asked.Volume] != v.Name {
		c.short[asked.Volume] = v.Name
		c.dirty = c.clock
	}
}

func (c *Cache) put(v wire.Volume) {
	c.clock++
	old, known := c.volumes[v.Name]
	if !known || old.ID != v.ID || old.SizeBytes != v.SizeBytes {
		c.dirty = c.clock // the rest of a cached volume may be old
	}
	if known && old.ID != v.ID {
		delete(c.ids, old.ID)
	}
	c.volumes[v.Name], c.ids[v.ID] = entry{v, c.clock}, v.Name
	delete(c.gone, v.Name)
}

// Now is a moment for Replace: take it before asking for the listing.
func (c *Cache) Now() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clock
}

// Replace remembers a whole listing that was asked for at since: what is not
// in it is gone. What was put or removed later than since is newer than the
// listing and stays so.
func (c *Cache) Replace(all []wire.Volume, since uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	listed := make(map[string]bool, len(all))
	for _, v := range all {
		listed[v.Name] = true
		if c.volumes[v.Name].at <= since && c.gone[v.Name] <= since {
			c.put(v)
		}
	}
	for name, e := range c.volumes {
		if !listed[name] && e.at <= since {
			c.drop(name)
		}
	}
	maps.DeleteFunc(c.gone, func(_ string, at uint64) bool { return at <= since })
	if !c.full {
		c.clock++
		c.full, c.dirty = true, c.clock
	}
}

// Remove forgets what the service said is not there.
func (c *Cache) Remove(asked volspec.Name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if full, ok := c.resolve(asked); ok {
		c.drop(full)
	}
}

func (c *Cache) drop(full string) {
	c.clock++
	c.dirty, c.gone[full] = c.clock, c.clock
	delete(c.ids, c.volumes[full].ID)
	delete(c.volumes, full)
	maps.DeleteFunc(c.short, func(_, f string) bool { return f == full })
}

func (c *Cache) resolve(asked volspec.Name) (string, bool) {
	if asked.Datastore == "" {
		full, ok := c.short[asked.Volume]
		return full, ok
	}
	if _, ok := c.volumes[asked.String()]; ok {
		return asked.String(), true
	}
	// Datastore names mean the same in any case of their letters.
	for name, v := range c.volumes {
		if v.Volume.Volume == asked.Volume && strings.EqualFold(v.Datastore, asked.Datastore) {
			return name, true
		}
	}
	return "", false
}

// Get is what was last known under a name. A short name is known when the
// service resolved it before.
func (c *Cache) Get(asked volspec.Name) (wire.Volume, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	full, ok := c.resolve(asked)
	if !ok {
		return wire.Volume{}, false
	}
	v, ok := c.volumes[full]
	return v.Volume, ok
}

// Name is the full name of a volume, "" when it is not known.
func (c *Cache) Name(id volspec.VolumeID) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ids[id]
}

// All is the last listing, by name; ok is false when there was none yet.
func (c *Cache) All() (all []wire.Volume, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.volumes)) {
		all = append(all, c.volumes[name].Volume)
	}
	return all, c.full
}

// Flush writes what must survive a restart, if that changed.
func (c *Cache) Flush() error {
	c.write.Lock()
	defer c.write.Unlock()
	c.mu.Lock()
	target := c.dirty
	if target == c.written {
		c.mu.Unlock()
		return nil
	}
	doc := cacheDoc{Version: cacheVersion, Full: c.full, Short: maps.Clone(c.short)}
	for _, v := range c.volumes {
		doc.Volumes = append(doc.Volumes, v.Volume)
	}
	c.mu.Unlock()
	data, err := json.Marshal(doc)
	if err == nil {
		err = durable.WriteFile(c.path, data, 0o600)
	}
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "write the cache %s", c.path)
	}
	c.written = target
	return nil
}
