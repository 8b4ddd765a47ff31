"""What `pop3fetch rm` does for one account."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pop3fetch.account.settings_table import Account
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.numbers import counted, human_size
from pop3fetch.cli.screen.progress import RunReporter
from pop3fetch.cli.sessions import sessions_of
from pop3fetch.errors import DeletionUnsafe, POP3Error
from pop3fetch.fetch.deleting import moved_up
from pop3fetch.fetch.plan import Action, compare
from pop3fetch.fetch.recall import recorded_in
from pop3fetch.fetch.survey import headers_of, status_of, survey
from pop3fetch.headers.summary import summarize
from pop3fetch.message_words import Selector, needs_uids, select
from pop3fetch.messages import Key, Listing, Message
from pop3fetch.pop3.mail_session import MailSession
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.states import Event
from pop3fetch.record.store import Store, known_at
from pop3fetch.values import NamedTuple

if TYPE_CHECKING:
    from pop3fetch.filters import Filters

SHOWN = 20  # messages that are shown before the question; more are too many to read


class RemoveOptions(NamedTuple):
    """The options of `rm`; without ``selectors`` and ``filters`` everything is deleted.

    ``asks``: only if the user agrees.
    """

    selectors: tuple[Selector, ...]
    filters: Filters | None
    asks: bool
    dry_run: bool
    as_json: bool


class Removal:
    """`rm`, account by account; ``state_folder`` has the records, which note what is deleted."""

    def __init__(self, state_folder: Path, options: RemoveOptions) -> None:
        self._state_folder = state_folder
        self._options = options

    def run(self, account: Account, console: Console) -> int:
        """Delete messages of an account; returns the exit status."""
        reporter = RunReporter(console, as_json=self._options.as_json)
        try:
            return self._run(account, console, reporter)
        finally:
            reporter.end()

    def _run(self, account: Account, console: Console, reporter: RunReporter) -> int:
        with sessions_of(account, console, self._state_folder).log_in() as client:
            recorded = recorded_in(self._place(account), account.address)
            # Only UIDs, or their stand-ins, show what was never fetched; without TOP they could cost mail.
            shows_new = self._options.asks and client.offers("TOP")
            by_number = not (shows_new or needs_uids(self._options.selectors))
            listing = survey(client, reporter, recorded, by_number=by_number)
            chosen = self._chosen(client, listing, console)
            if self._options.dry_run:
                from pop3fetch.cli.screen.dry_run import DryRun
                from pop3fetch.fetch.dry_run import rehearse

                dry_run = DryRun(console, as_json=self._options.as_json)
                rehearse(client, [Action("delete", message) for message in chosen], dry_run.would)
                dry_run.end()
            elif not chosen:
                console.remark("no matching messages" if self._options.filters else "no messages")
            elif not self._options.asks or _agreed(client, chosen, self._new(account, listing), console):
                if client.quit_may_cost({message.index for message in chosen}):
                    raise DeletionUnsafe  # QUIT would delete messages that were not chosen
                return self._delete(client, listing, chosen, account, reporter)
            else:
                console.remark("nothing was deleted")
            client.end_look(console.notice)
        return status_of(listing)

    def _place(self, account: Account) -> RecordPlace:
        return RecordPlace.to_read(self._state_folder, account.name, account.address)

    def _chosen(self, client: MailSession, listing: Listing, console: Console) -> list[Message]:
        options = self._options
        indexes = list(listing.indexes())
        if options.selectors:
            indexes = select(listing, options.selectors, one_each=True)
        if options.filters:
            from pop3fetch.fetch.filtering import Filtering

            filtering = Filtering(client, options.filters, time.time(), console.notice)
            indexes = filtering.matching(listing, indexes)
        return list(map(listing.message, indexes))

    def _new(self, account: Account, listing: Listing) -> set[int]:
        """Return the indexes of the messages that were never fetched, as far as their UIDs are known."""
        new = compare(listing, known_at(self._place(account))).new
        return {index for index in new if listing.message(index).uid}

    def _delete(
        self,
        client: MailSession,
        listing: Listing,
        messages: Sequence[Message],
        account: Account,
        reporter: RunReporter,
    ) -> int:
        """Delete, and end the session; nothing counts as deleted before the server replies +OK to QUIT."""
        by_index = {message.index: message for message in messages}
        status: int = status_of(listing)
        deleted: list[Message] = []
        # Whatever ends this run, the next one finds out which of them are left.
        self._keep(account, Event.DELETING, messages, {})
        for index, refusal in client.iter_deletions(by_index, then_quit=True):
            if refusal:
                reporter.skipped(by_index[index], refusal)
                status = status or refusal.exit_status
            else:
                deleted.append(by_index[index])
        moved = moved_up(listing, {message.index for message in deleted})
        self._keep(account, Event.DELETED, deleted, moved)
        reporter.removed(deleted)
        return status

    def _keep(
        self, account: Account, event: Event, messages: Sequence[Message], moved: Mapping[Key, Key]
    ) -> None:
        """Record what happened to messages, because their UIDs may be reused.

        ``moved``: old to new keys of messages that share their UIDs.

        If there is no record, or another run has locked it, nothing is recorded: the next complete
        listing shows the same.
        """
        place = self._place(account)
        if not place.database.exists():
            return
        with suppress(POP3Error):
            store = Store(place)
            try:
                store.happened(event, (message.key for message in messages), int(time.time()))
                store.rename(moved)
            finally:
                store.close()


def _agreed(client: MailSession, messages: Sequence[Message], new: set[int], console: Console) -> bool:
    """Show what would be deleted, with a mark on what is ``new``, and ask once."""
    from pop3fetch.cli.screen.list_table import show

    shown = messages[:SHOWN]
    headers = dict(headers_of(client, [message.index for message in shown], decides=False))
    rows = [
        (message, "*" if message.index in new else "", summarize(headers[message.index].headers), True)
        for message in shown
    ]
    facts = f"{human_size(sum(message.size for message in messages))} in all"
    if never_fetched := sum(message.index in new for message in messages):
        facts += f", {never_fetched} never fetched (*)"

    def talk() -> bool:
        show(console, console.err, rows, max(message.number for message in shown))
        if len(messages) > len(shown):
            console.instruct(f"… and {len(messages) - len(shown)} more")
        console.instruct(facts)
        return console.confirm(f"Delete {counted(len(messages))} from the server?")

    return console.talk(talk)
