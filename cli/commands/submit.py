"""`submit`: documents become messages, once each."""

from collections.abc import Sequence
from typing import Annotated

import typer

from cli import output
from cli.commands.deployment import target_of
from cli.commands.options import Json
from cli.documents import Document, Naming, read
from cli.failures import ExitCode
from cli.target import Target
from reportflow.contract import CONTRACTS

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="Files, folders with files, or - for standard input. A .json file is one document, "
        ".jsonl and .ndjson have one a line.",
    ),
]


def submit(
    context: typer.Context,
    sources: Sources,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Read the folders' sub-folders, too.")
    ] = False,
    keep_going: Annotated[
        bool,
        typer.Option("--keep-going", help="Send the good documents despite mistakes in others."),
    ] = False,
    job_id_from_file_name: Annotated[
        bool,
        typer.Option("--job-id-from-file-name", help="invoice-7.json is the job invoice-7."),
    ] = False,
    generate_job_ids: Annotated[
        bool,
        typer.Option(
            "--generate-job-ids",
            help="Make a missing jobId from the document's digest: the same document is always "
            "the same job.",
        ),
    ] = False,
    payload_bucket: Annotated[
        str | None,
        typer.Option(
            help="Where bodies above SQS's 1 MiB go. Default: the deployment's first.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, and send nothing.")] = False,
    contract: Annotated[
        str | None,
        typer.Option(
            help="Check by this contract, workspace or central. Default: the deployment's.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Submit documents as jobs, and print their ids.

    The documents are checked as the functions do. With one mistake nothing is sent, unless
    --keep-going is given. Running it again after an interruption does no harm: a known job makes no
    second PDF. A file that `dlq drop` wrote is read as the messages in it.

    Status 1: there were mistakes, or SQS did not take all messages.

    Example: `reportflow submit invoices/ | reportflow watch -`
    """
    naming = Naming(by_file_name=job_id_from_file_name, by_digest=generate_job_ids)
    rules = CONTRACTS.get(contract) if contract else target_of(context).contract
    if rules is None:
        raise typer.BadParameter(f"expected one of {', '.join(CONTRACTS)}", param_hint="--contract")
    reading = read(sources, naming, rules, recursive=recursive)
    for mistake in reading.mistakes:
        output.note(f"{mistake.place}: {mistake.text}", style="red")
    if reading.repeated:
        output.note(f"{output.several(reading.repeated, 'repetition')} left out.")
    for folder in reading.skipped:
        output.note(f"The sub-folders of {folder} were not read: --recursive reads them.")
    failed = len({mistake.place for mistake in reading.mistakes})
    good = reading.documents
    if dry_run or not good or (failed and not keep_going):
        checked = output.several(len(good) + failed, "document")
        output.note(f"{checked} checked, {failed} with mistakes. Nothing was sent.")
    else:
        failed += _send(target_of(context), good, payload_bucket, as_json=as_json)
    if failed or not good:
        raise typer.Exit(ExitCode.FINDINGS)


def _send(
    target: Target, documents: Sequence[Document], bucket: str | None, *, as_json: bool
) -> int:
    """Send all documents and print each. A summary ends it, also if it is interrupted.

    Returns how many SQS refused.
    """
    # Imported here, because `--help` needs no AWS.
    from cli import sending

    payloads = sending.Payloads(target, bucket)
    for document in documents:
        payloads.store(document)
    places = {document.job_id: document.place for document in documents}
    taken = failed = 0
    try:
        with output.progress(prints=True) as progress:
            bar = progress.add_task("send", total=len(documents))
            prepared = map(payloads.outgoing, documents)
            for sent in sending.send(target.sqs, target.request_queue_url, prepared):
                progress.advance(bar)
                if sent.refused is not None:
                    failed += 1
                    output.note(f"{places[sent.key]}: not sent: {sent.refused}", style="red")
                    continue
                taken += 1
                if as_json:
                    output.json_line({"jobId": sent.key, "place": places[sent.key]})
                else:
                    output.say(sent.key)
    finally:
        left = len(documents) - taken - failed
        if left or failed or not as_json:
            output.note(f"{taken} sent, {failed} refused by SQS, {left} left.")
    return failed
