"""One foreign thing each: a drive, a cache, a server, a bus, a service manager.

An edge imports core only, never another edge. What it promises to the engine is written in `engine.ports`;
it fulfils that without importing it. Every foreign error leaves an edge as one of `core.errors`.
"""
