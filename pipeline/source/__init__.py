"""Where a source comes from, which commit it is, and how it gets here."""
