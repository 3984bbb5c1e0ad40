import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest
import requests

from local.emulator import Contract, Emulator, EmulatorSettings
from local.emulator.designs import INVOICE
from local.emulator.fault_plan import Call, Fault
from local.emulator.faults import EarlyWebhook, Late, Lost, Reordered, Repeated
from local.emulator.server import EARLY_WEBHOOK_SECONDS
from tests.unit.emulator_client import (
    BOTH,
    FAST,
    KEYS,
    PARAMS,
    Receiver,
    body,
    download,
    made,
    multiple,
    receiver,
    submit,
    wait_until,
)

# One sender sends in order, so what is not heard before the next webhook never comes.
IN_ORDER = replace(FAST, webhook_workers=1, webhook_backoff_seconds=0)


@pytest.fixture
def heard() -> Iterator[Receiver]:
    with receiver() as heard:
        yield heard


@pytest.fixture(params=BOTH, ids=lambda settings: settings.contract)
def settings(request: pytest.FixtureRequest) -> EmulatorSettings:
    assert isinstance(request.param, EmulatorSettings)
    return request.param


@pytest.fixture
def emulator(settings: EmulatorSettings, heard: Receiver) -> Iterator[Emulator]:
    with Emulator(settings, heard.url) as emulator:
        yield emulator


def submit_several(emulator: Emulator, *names: str) -> None:
    url = f"{emulator.url}/file/async/multiple"
    assert requests.post(url, json=multiple(*names), headers=KEYS, timeout=10).status_code == 202


class TestDelivery:
    def test_has_what_the_download_needs(self, emulator: Emulator, heard: Receiver) -> None:
        submit(emulator, "請求書.pdf", jobId="job_1")
        wait_until(lambda: heard.events)

        [event] = heard.events
        [record] = emulator.files()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("timestamp"))
        common = {
            "event": "file.completed",
            "workspaceId": FAST.workspace_id,
            "designId": INVOICE.id,
            "version": 1,
        }
        named = {"fileId": record.file_id, "fileName": "請求書.pdf"}
        expected = {
            Contract.WORKSPACE: {
                **common,
                "files": [
                    {**named, "uuid": record.uuid, "params": {**PARAMS, "jobId": "job_1"}},
                ],
            },
            Contract.CENTRAL: {
                **common,
                "requestId": record.request_id,
                "files": [
                    {
                        **named,
                        "share": {
                            "shareType": "workspace",
                            "url": f"{emulator.origin}/file/{record.request_id}/{record.file_id}",
                            "passcodeEnabled": False,
                        },
                    }
                ],
            },
        }
        assert event == expected[emulator.settings.contract]
        assert heard.content_types == ["application/json"]
        assert download(emulator, record).ok

    @pytest.mark.parametrize(
        ("path", "data"),
        [
            ("sync/single", body("a.pdf")),
            ("sync/multiple", multiple("a.pdf", "b.pdf")),
            ("async/single", body("a.pdf")),
            ("async/multiple", multiple("a.pdf", "b.pdf")),
        ],
    )
    def test_every_generation_call_sends_one(
        self, emulator: Emulator, heard: Receiver, path: str, data: dict[str, Any]
    ) -> None:
        response = requests.post(f"{emulator.url}/file/{path}", json=data, headers=KEYS, timeout=10)
        assert response.ok
        wait_until(lambda: all(file.webhooks for file in emulator.files()))

        [event] = heard.events
        assert [file["fileId"] for file in event["files"]] == [
            file.file_id for file in emulator.files()
        ]

    def test_is_tried_again_after_a_5xx(self, emulator: Emulator, heard: Receiver) -> None:
        heard.statuses = [500, 503]
        submit(emulator)
        wait_until(lambda: len(emulator.files()[0].webhooks) == 3)

        assert [attempt.status for attempt in emulator.files()[0].webhooks] == [500, 503, 200]
        assert heard.events[0] == heard.events[1] == heard.events[2]

    @pytest.mark.parametrize("status", [200, 204, 302, 400, 410])
    def test_is_not_tried_again_after_another_status(self, heard: Receiver, status: int) -> None:
        heard.statuses = [status]
        with Emulator(IN_ORDER, heard.url) as emulator:
            submit(emulator, "first.pdf")
            wait_until(lambda: emulator.files()[0].webhooks)
            submit(emulator, "second.pdf")
            wait_until(lambda: emulator.files()[1].webhooks)

            assert [attempt.status for attempt in emulator.files()[0].webhooks] == [status]
            assert heard.names() == ["first.pdf", "second.pdf"]

    def test_gives_up_after_the_configured_retries(self, heard: Receiver) -> None:
        heard.statuses = [500] * 3
        with Emulator(replace(IN_ORDER, webhook_retries=1), heard.url) as emulator:
            submit(emulator)
            wait_until(lambda: len(emulator.files()[0].webhooks) == 2)
            submit(emulator, "second.pdf")
            wait_until(lambda: emulator.files()[1].webhooks)

            assert [attempt.status for attempt in emulator.files()[0].webhooks] == [500, 500]

    def test_a_receiver_that_is_not_there_is_noted(self, emulator: Emulator) -> None:
        emulator.webhook_url = "http://127.0.0.1:1/webhooks"
        submit(emulator)
        wait_until(lambda: len(emulator.files()[0].webhooks) == 1 + FAST.webhook_retries)

        for attempt in emulator.files()[0].webhooks:
            assert attempt.status is None
            assert "refused" in (attempt.error or "")

    def test_a_slow_receiver_holds_up_neither_calls_nor_other_webhooks(
        self, heard: Receiver
    ) -> None:
        settings = replace(FAST, webhook_timeout_seconds=0.3, webhook_retries=0)
        with receiver() as slow, Emulator(settings, slow.url) as emulator:
            slow.lock.acquire()
            try:
                assert submit(emulator).status_code == 202
                assert slow.called.wait(60)
                emulator.webhook_url = heard.url
                submit(emulator, "second.pdf")
                wait_until(lambda: heard.names() == ["second.pdf"])
                wait_until(lambda: emulator.files()[0].webhooks)
            finally:
                slow.lock.release()
            [attempt] = emulator.files()[0].webhooks
            assert attempt.status is None
            assert "Timeout" in (attempt.error or "")

    def test_the_url_can_be_set_later(self, heard: Receiver) -> None:
        with Emulator(FAST) as emulator:
            submit(emulator, "first.pdf")
            made(emulator)
            emulator.webhook_url = heard.url
            submit(emulator, "second.pdf")
            # The first one's may still have been in flight.
            wait_until(lambda: "second.pdf" in heard.names())

    def test_a_request_of_several_files_has_one_webhook(
        self, emulator: Emulator, heard: Receiver
    ) -> None:
        submit_several(emulator, "a.pdf", "b.pdf", "c.pdf")
        wait_until(lambda: all(file.webhooks for file in emulator.files()))

        [event] = heard.events
        assert [file["fileName"] for file in event["files"]] == ["a.pdf", "b.pdf", "c.pdf"]

    def test_or_one_for_each_file_if_set(self, heard: Receiver) -> None:
        with Emulator(replace(FAST, one_webhook_per_request=False), heard.url) as emulator:
            submit_several(emulator, "a.pdf", "b.pdf")
            wait_until(lambda: all(file.webhooks for file in emulator.files()))

        assert [len(event["files"]) for event in heard.events] == [1, 1]
        assert sorted(heard.names()) == ["a.pdf", "b.pdf"]


class TestFaults:
    def test_lost(self, emulator: Emulator, heard: Receiver) -> None:
        emulator.faults.replace([Fault(Call.WEBHOOK, Lost(), file_name_prefix="first")])
        submit(emulator, "first.pdf")
        submit(emulator, "second.pdf")
        wait_until(lambda: emulator.files()[0].sha256 and emulator.files()[1].webhooks)

        assert heard.names() == ["second.pdf"]

    def test_repeated(self, emulator: Emulator, heard: Receiver) -> None:
        emulator.faults.replace([Fault(Call.WEBHOOK, Repeated(3))])
        submit(emulator)
        wait_until(lambda: len(emulator.files()[0].webhooks) == 3)

        assert heard.events[0] == heard.events[1] == heard.events[2]

    def test_late(self, emulator: Emulator, heard: Receiver) -> None:
        emulator.faults.replace([Fault(Call.WEBHOOK, Late(60))])
        submit(emulator, "first.pdf")
        wait_until(lambda: emulator.files()[0].sha256)
        submit(emulator, "second.pdf")
        wait_until(lambda: emulator.files()[1].webhooks)

        assert heard.names() == ["second.pdf"]

    def test_late_comes_at_last(self, emulator: Emulator, heard: Receiver) -> None:
        emulator.faults.replace([Fault(Call.WEBHOOK, Late(0.05))])
        submit(emulator)
        wait_until(lambda: heard.names() == ["invoice.pdf"])

    def test_reordered(self, emulator: Emulator, heard: Receiver) -> None:
        emulator.faults.replace([Fault(Call.WEBHOOK, Reordered(60))])
        submit(emulator, "first.pdf")
        wait_until(lambda: emulator.faults.counts()[0][1])
        submit(emulator, "second.pdf")
        wait_until(lambda: len(heard.names()) == 2)

        assert heard.names() == ["second.pdf", "first.pdf"]

    def test_reordered_with_none_to_follow_is_sent_in_the_end(
        self, emulator: Emulator, heard: Receiver
    ) -> None:
        emulator.faults.replace([Fault(Call.WEBHOOK, Reordered(0.05))])
        submit(emulator)
        wait_until(lambda: heard.names() == ["invoice.pdf"])

    def test_reordered_is_sent_once(self, heard: Receiver) -> None:
        faults = [
            Fault(Call.WEBHOOK, Reordered(3), file_name_prefix="first"),
            Fault(Call.WEBHOOK, Late(4), file_name_prefix="third"),
        ]
        with Emulator(IN_ORDER, heard.url, faults=faults) as emulator:
            submit(emulator, "first.pdf")
            wait_until(lambda: emulator.faults.counts()[0][1])
            submit(emulator, "second.pdf")
            submit(emulator, "third.pdf")
            wait_until(lambda: len(heard.names()) >= 3)

            assert heard.names() == ["second.pdf", "first.pdf", "third.pdf"]

    def test_early_comes_before_the_202(self, settings: EmulatorSettings, heard: Receiver) -> None:
        slow, faults = (
            replace(settings, render_seconds=(1, 1)),
            [Fault(Call.SUBMIT, EarlyWebhook())],
        )
        with Emulator(slow, heard.url, faults=faults) as emulator:
            submit(emulator, "first.pdf")
            assert heard.names() == ["first.pdf"]

    def test_early_does_not_wait_when_it_closes(self) -> None:
        faults = [Fault(Call.SUBMIT, EarlyWebhook())]
        with Emulator(FAST, faults=faults) as emulator:
            thread = threading.Thread(target=self.try_to_submit, args=(emulator,))
            thread.start()
            wait_until(emulator.files)
            start = monotonic()
        assert monotonic() - start < EARLY_WEBHOOK_SECONDS
        thread.join()

    def try_to_submit(self, emulator: Emulator) -> None:
        try:
            submit(emulator)
        except requests.ConnectionError:
            return

    def test_a_pdf_that_is_never_made_sends_no_webhook(
        self, emulator: Emulator, heard: Receiver
    ) -> None:
        emulator.faults.replace([Fault(Call.RENDER, Lost(), job_id_prefix="bad")])
        submit(emulator, "first.pdf", jobId="bad-1")
        submit(emulator, "second.pdf", jobId="good-1")
        wait_until(lambda: emulator.files()[1].webhooks)

        [first, _] = emulator.files()
        assert first.sha256 is None
        assert download(emulator, first).status_code == FAST.not_ready_status
        assert heard.names() == ["second.pdf"]

    def test_a_pdf_can_take_longer(self, emulator: Emulator, heard: Receiver) -> None:
        emulator.faults.replace([Fault(Call.RENDER, Late(0.2))])
        submit(emulator, "first.pdf")
        submit(emulator, "second.pdf")
        wait_until(lambda: len(heard.names()) == 2)

        assert heard.names() == ["second.pdf", "first.pdf"]
