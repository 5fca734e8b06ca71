"""The readout as a page for people: one HTML document, no scripts, nothing fetched from elsewhere.

    render(Report(experiment, results, decision, history=None, uplift=(), policies=(), funnel=())) -> str

`uplift` and `policies` hold one answer for each arm that has one; `funnel` is that of the target list. What is left out
is left out of the page; what is null is shown with its reason.
"""

from services.experiments.report.page import Report, render

__all__ = ["Report", "render"]
