"""How much the parsing of one PDF or office file may take."""

PARSE_TIMEOUT = 120  # seconds
PARSE_MEMORY_MB = 2048
