"""Plays pip, uv and twine against an index, ours or another's, and tells what they would stumble over.

`verdicts.py` has what a check says; `client.py` asks, bounded in bytes and time; `page.py` reads pages leniently, for
here a fault is what is looked for; `visit.py` is one visit to one index; the other modules hold the checks, small
functions over a visit; `examination.py` lists and runs them; `report.py` shows what was found.
"""

from caseus.doctor.client import Login
from caseus.doctor.examination import CHECKS, examine
from caseus.doctor.report import Report, as_json_text, show
from caseus.doctor.visit import Request

__all__ = ["CHECKS", "Login", "Report", "Request", "as_json_text", "examine", "show"]
