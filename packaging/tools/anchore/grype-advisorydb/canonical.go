package main

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
)

// canonicalize sets the build time and writes the database anew, so that the same advisories give the same bytes: grype's
// own writer takes the time from the clock, and writes the aliases of a vulnerability, and the foreign keys of the table
// between packages and CPEs, in a random order.
func canonicalize(directory string, built time.Time) (err error) {
	path := filepath.Join(directory, v6.VulnerabilityDBFileName)
	source, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	// One connection, since an attached database belongs to a connection.
	source.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, source.Close()) }()
	if _, err := source.Exec("UPDATE db_metadata SET build_timestamp = ?", built); err != nil {
		return fmt.Errorf("build time: %w", err)
	}
	fresh := path + ".canonical"
	if err := rewrite(source, fresh); err != nil {
		return fmt.Errorf("canonical order: %w", err)
	}
	return os.Rename(fresh, path)
}

// object is a table or an index.
type object struct{ kind, name, statement string }

var foreignKey = regexp.MustCompile("CONSTRAINT `[^`]+` FOREIGN KEY \\([^)]*\\) REFERENCES `[^`]+`\\([^)]*\\)")

// create returns the statement that makes the object in the attached database, its foreign keys in a stable order.
func (o object) create() (string, error) {
	at := strings.Index(o.statement, "`"+o.name+"`")
	if at < 0 {
		return "", fmt.Errorf("a statement of an unknown form: %s", o.statement)
	}
	keys := foreignKey.FindAllString(o.statement, -1)
	sort.Strings(keys)
	sorted := foreignKey.ReplaceAllStringFunc(o.statement[at:], func(string) string {
		key := keys[0]
		keys = keys[1:]
		return key
	})
	return o.statement[:at] + "canonical." + sorted, nil
}

func rewrite(db *sql.DB, target string) error {
	objects, err := schema(db)
	if err != nil {
		return err
	}
	if _, err := db.Exec("ATTACH DATABASE ? AS canonical", target); err != nil {
		return err
	}
	// The journal would be a second file; what is half written is thrown away anyway.
	if _, err := db.Exec("PRAGMA canonical.journal_mode = OFF"); err != nil {
		return err
	}
	for _, kind := range []string{"table", "index"} {
		for _, object := range objects {
			if object.kind == kind {
				if err := object.copy(db); err != nil {
					return fmt.Errorf("%s %s: %w", object.kind, object.name, err)
				}
			}
		}
	}
	for _, statement := range []string{"ANALYZE canonical", "DETACH DATABASE canonical"} {
		if _, err := db.Exec(statement); err != nil {
			return err
		}
	}
	return nil
}

// schema returns what the database consists of, by name, without what SQLite makes itself.
func schema(db *sql.DB) ([]object, error) {
	rows, err := db.Query(`SELECT type, name, sql FROM sqlite_master
		WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var objects []object
	for rows.Next() {
		var found object
		if err := rows.Scan(&found.kind, &found.name, &found.statement); err != nil {
			return nil, err
		}
		objects = append(objects, found)
	}
	return objects, rows.Err()
}

func (o object) copy(db *sql.DB) error {
	statement, err := o.create()
	if err != nil {
		return err
	}
	if _, err := db.Exec(statement); err != nil {
		return err
	}
	if o.kind != "table" {
		return nil
	}
	columns, err := columnCount(db, o.name)
	if err != nil {
		return err
	}
	order := make([]string, columns)
	for i := range order {
		order[i] = fmt.Sprint(i + 1)
	}
	_, err = db.Exec(fmt.Sprintf("INSERT INTO canonical.`%s` SELECT * FROM main.`%[1]s` ORDER BY %s",
		o.name, strings.Join(order, ", ")))
	return err
}

func columnCount(db *sql.DB, table string) (int, error) {
	var count int
	err := db.QueryRow("SELECT count(*) FROM pragma_table_info(?)", table).Scan(&count)
	return count, err
}
