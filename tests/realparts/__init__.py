"""The real parts that tests run against: Swift, dbus-daemon, duplicity, drives, the daemon itself."""
