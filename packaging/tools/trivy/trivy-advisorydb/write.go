package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy-db/pkg/metadata"
	"github.com/aquasecurity/trivy-db/pkg/types"
	bolt "go.etcd.io/bbolt"
)

// validity is how long trivy itself takes a database for the newest one. The vendor's are made anew every six hours; one
// of a site's own advisories holds until the site makes another, so this only has to be a date that is not in the past
// when the database is fresh.
const validity = 24 * time.Hour

// pageSize is what most machines have. bbolt would take the one of the machine that it runs on.
const pageSize = 4096

// write stores everything below the directory. The same content gives the same bytes: bbolt goes through the buckets that
// a transaction touched in a random order, so no transaction touches two.
func (c content) write(directory string, built time.Time) (err error) {
	if err := db.Init(directory, db.WithBoltOptions(&bolt.Options{NoSync: true, PageSize: pageSize})); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	config := db.Config{}
	connection := config.Connection()
	for _, at := range c.places() {
		err := connection.Update(func(tx *bolt.Tx) error {
			for _, id := range slices.Sorted(maps.Keys(c.advisories[at])) {
				advisory := c.advisories[at][id]
				if err := config.PutAdvisory(tx, []string{at.bucket, at.name}, id, &advisory); err != nil {
					return fmt.Errorf("%s in %s: %w", id, at.name, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := connection.Update(func(tx *bolt.Tx) error { return c.putSource(config, tx, at.bucket) }); err != nil {
			return err
		}
	}
	err = connection.Update(func(tx *bolt.Tx) error {
		for _, id := range slices.Sorted(maps.Keys(c.vulnerabilities)) {
			if err := config.PutVulnerability(tx, id, c.vulnerabilities[id]); err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := connection.Sync(); err != nil {
		return err
	}
	return metadata.NewClient(directory).Update(metadata.Metadata{
		Version:      db.SchemaVersion,
		UpdatedAt:    built,
		NextUpdate:   built.Add(validity),
		DownloadedAt: built,
	})
}

func (c content) putSource(config db.Config, tx *bolt.Tx, name string) error {
	return config.PutDataSource(tx, name, types.DataSource{ID: c.source, Name: "OSV advisories (" + string(c.source) + ")"})
}
