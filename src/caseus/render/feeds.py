"""RSS 2.0: what is new, for people and for programs that watch an index."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import NamedTuple

from caseus.render.text import escaped


class Item(NamedTuple):
    """`link`: absolute; `name` is what tells items apart; `published` is aware."""

    title: str
    link: str
    name: str
    published: datetime | None = None
    description: str = ""


def feed(title: str, link: str, description: str, items: Iterable[Item]) -> bytes:
    """The feed of these items, in their order."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<rss version="2.0">\n<channel>\n'
        f"<title>{escaped(title)}</title>\n<link>{escaped(link)}</link>\n"
        f"<description>{escaped(description)}</description>\n<language>en</language>\n"
        f"{''.join(map(_item, items))}</channel>\n</rss>\n"
    ).encode()


def _item(item: Item) -> str:
    told = f"<item>\n<title>{escaped(item.title)}</title>\n<link>{escaped(item.link)}</link>\n"
    told += f'<guid isPermaLink="false">{escaped(item.name)}</guid>\n'
    if item.description:
        told += f"<description>{escaped(item.description)}</description>\n"
    if item.published is not None:
        told += f"<pubDate>{format_datetime(item.published.astimezone(UTC), usegmt=True)}</pubDate>\n"
    return told + "</item>\n"
