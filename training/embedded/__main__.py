"""`python -P -m training.embedded`: measures a model on held-out archives and writes the page of its figures.

With `--start` it first fine-tunes the designs from that plain host; otherwise the page has the figures of the designs
that are kept beside it.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from reports.vocabulary import Domain
from training.embedded.designs import compare, design_section, read_results, write_results
from training.embedded.held_out import held_out_pairs
from training.embedded.measure import measure, megabytes
from training.embedded.page import missed_targets, write_page
from training.errors import TrainingError
from training.experiment import LOG_FORMAT, hardware
from training.predict import Predictor, embedded_folder
from training.recipe import HELD_OUT_SEED, RecipeConfig

COMMAND = "make embedded-model"

logger = logging.getLogger(__name__)


def main() -> None:
    """Command line of the measurement."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder of the held-out pairs, made once")
    parser.add_argument("--doc", type=Path, required=True, help="where the page goes")
    parser.add_argument("--model", type=Path, help="folder of the model; the embedded one by default")
    parser.add_argument("--pairs", type=int, default=500, help="pairs a domain")
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED, help="seed of the archives")
    parser.add_argument("--start", type=Path, help="folder of a plain host that the designs are fine-tuned from")
    parser.add_argument("--steps", type=int, default=1250, help="steps of each fine-tuning; after 220 they are alike")
    parser.add_argument("--batch", type=int, default=16, help="pairs a step of each fine-tuning")
    parser.add_argument("--rate", type=float, default=6e-4, help="peak learning rate of each fine-tuning")
    parser.add_argument("--seeds", type=int, nargs="+", default=[31, 32, 33], help="seeds of the fine-tunings")
    parser.add_argument("--compiled", action="store_true", help="torch compiles the decoder; needs a C++ compiler")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    torch.set_num_threads(arguments.threads)
    folder = embedded_folder() if arguments.model is None else arguments.model
    try:
        # Every image is shown once in each way, so that none need be kept.
        predictor = Predictor.load(folder, cache_bytes=0)
        pairs = {
            domain: held_out_pairs(
                arguments.out, domain, pairs=arguments.pairs, seed=arguments.seed, predictor=predictor
            )
            for domain in Domain
        }
        kept = arguments.doc.with_name(f"{arguments.doc.stem}-designs.json")
        if arguments.start is not None:
            config = RecipeConfig(
                seed=arguments.seeds[0],
                pair_steps=arguments.steps,
                pair_batch=arguments.batch,
                pair_rate=arguments.rate,
                threads=arguments.threads,
                compiled=arguments.compiled,
            )
            write_results(
                compare(arguments.seeds, config, start=arguments.start, out=arguments.out / "designs", pairs=pairs),
                kept,
            )
        results = []
        for domain, held_out in pairs.items():
            logger.info("%s: %d pairs", domain, len(held_out))
            results.append(measure(held_out, predictor))
    except TrainingError as error:
        sys.exit(f"{error}")
    page = write_page(
        results,
        command=COMMAND,
        pairs=arguments.pairs,
        seed=arguments.seed,
        model=predictor.model_hash,
        size=megabytes(folder),
        hardware=hardware(),
        designs=design_section(read_results(kept), command=f"{COMMAND} START=FOLDER") if kept.is_file() else (),
    )
    arguments.doc.write_text(page, encoding="utf-8")
    for sentence in missed_targets(results):
        logger.info("missed: %s", sentence)


if __name__ == "__main__":
    main()
