"""Publishing: where a finished release goes. One file a publisher, one protocol, one table."""
