"""`interval index`: what is in an archive, which pairs it gives, what is refused?"""

import typer

from services.cli import output
from services.cli.options import Archive, Json, OneDomain, Workers, make_settings


def index(archive: Archive, domain: OneDomain = None, workers: Workers = None, json: Json = False) -> None:
    """List acquisitions, pairs and refusals; change nothing.

    Each refusal comes with its reason and what to do about it.
    """
    from services.survey import all_refusals, survey_archive

    settings = make_settings(workers=workers)
    with output.ProgressBars() as progress:
        found, pairing = survey_archive(archive, domain=domain, workers=settings.workers, progress=progress)
    refusals = all_refusals(found, pairing)
    counts = {
        "files": found.files_seen,
        "acquisitions": len(found.acquisitions),
        "sidecars": len(found.sidecars),
        "refused files": len(found.refusals),
        "pairs": len(pairing.pairs),
        "refused pairs and acquisitions": len(refusals) - len(found.refusals),
    }
    if json:
        output.print_json(
            {
                "counts": counts,
                "pairs": [
                    {
                        "id": pair.id,
                        "domain": pair.domain,
                        "subject": pair.subject,
                        "prior": pair.prior.name,
                        "current": pair.current.name,
                        "interval_days": pair.interval_days,
                        "reason": pair.reason,
                        "warnings": pair.warnings,
                    }
                    for pair in pairing.pairs
                ],
                "refusals": [vars(one) for one in refusals],
                "sidecars": [vars(one) for one in found.sidecars],
            }
        )
    else:
        output.print_counts(counts)
        if pairing.pairs:
            typer.echo()
            rows = [["prior", "current", "days", "why"]]
            for pair in pairing.pairs:
                rows.append([pair.prior.name, pair.current.name, f"{pair.interval_days:.1f}", pair.reason])
            output.print_table(rows)
        if refusals:
            typer.echo()
            output.print_refusals(refusals)
    raise typer.Exit(output.INCOMPLETE if refusals else output.CLEAN)
