"""What is registered: targets, channels, rules, keys, users.

The one door through which people create, change and delete them; REST, the CLI and files all come through here,
so the same checks and the same words hold everywhere. Knows no HTTP and no terminal.
"""
