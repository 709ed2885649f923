"""All tests run in a UTF-8 locale, whatever the machine's: those of other locales say so."""

import os

os.environ["LC_ALL"] = "C.UTF-8"
