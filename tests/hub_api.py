"""What the stand-in for the Hub answers: huggingface_hub's calls for models and Spaces, one method each."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from tests.hub_repos import ATTRIBUTES, SDKS, Blob, Repo, described, front_matter, is_large, listing, wrong_space
from tests.hub_wire import Exchange, RefusedError, Response, as_json

DATE = "2026-01-01T00:00:00.000Z"


class Answer(Exchange):
    """The Hub itself."""

    @property
    def hub(self) -> Any:
        """The server."""
        return self.server

    def answer(self, path: str) -> Response:
        """Find the part of the protocol that a request is for."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.hub.tokens:
            raise RefusedError(401, None, "Invalid credentials in Authorization header")
        self.role = self.hub.tokens.get(token)
        method = "GET" if self.command == "HEAD" else self.command
        for wanted, pattern, part in ROUTES:
            # A name with a slash in it, such as refs/pr/1, is one piece of an address, quoted.
            if method == wanted and (match := re.fullmatch(pattern, self.parts.path)):
                found = part(self, **{key: unquote(value or "") for key, value in match.groupdict().items()})
                return found if isinstance(found, tuple) else as_json(found)
        raise RefusedError(404, "EntryNotFound", f"there is no {self.command} {path} here")

    def given(self) -> dict[str, Any]:
        """The body, which is JSON."""
        return dict(json.loads(self.body or b"{}"))

    def may(self, name: str, *, write: bool = False) -> Repo:
        """A repository that this login may read or write."""
        repo = self.hub.repo(name)
        if repo is None or (repo.private and self.role not in ("read", "write")):
            if self.role is None:
                raise RefusedError(401, "RepoNotFound", "Invalid username or password.")
            raise RefusedError(404, "RepoNotFound", "Repository not found")
        if write and self.role is None:
            raise RefusedError(401, None, "Invalid username or password.")
        if write and self.role != "write":
            raise RefusedError(403, None, f"You don't have the rights to write to {name}")
        return repo

    def named(self, given: dict[str, Any]) -> str:
        """What a repository is called here whose kind and name a request tells."""
        start = {"model": "", "space": "spaces/"}[given.get("type") or "model"]
        return f"{start}{given.get('organization') or self.role}/{given['name']}"

    def at(self, repo: Repo, revision: str) -> str:
        """The sha of a revision."""
        sha = repo.find(revision)
        if sha is None:
            raise RefusedError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return sha

    def whoami(self) -> Any:
        """Who has logged in."""
        if self.role is None:
            raise RefusedError(401, None, "Invalid username or password.")
        access = {"role": self.role, "displayName": "tests", "createdAt": DATE}
        return {"type": "user", "name": self.role, "orgs": [], "auth": {"type": "access_token", "accessToken": access}}

    def create(self) -> Any:
        """A new repository, with the first commit that the Hub makes."""
        given = self.given()
        kind, name = given.get("type") or "model", self.named(given)
        if self.role != "write":
            raise RefusedError(403 if self.role else 401, None, f"You don't have the rights to create a {kind} here")
        if kind == "space" and given.get("sdk") not in SDKS:
            raise RefusedError(400, None, f'"sdk" must be one of {list(SDKS)}')
        url = {"url": f"{self.hub.address}/{name}", "name": name}
        if self.hub.repo(name) is not None:
            return as_json(url | {"error": f"You already created this {kind} repo"}, 409)
        private = given.get("visibility") == "private" or bool(given.get("private"))
        repo = self.hub.repos[name] = Repo(private, given.get("sdk"))
        begun = {".gitattributes": ATTRIBUTES}
        if kind == "space":
            begun["README.md"] = f"---\ntitle: {given['name']}\nsdk: {given['sdk']}\n---\n".encode()
        repo.commit({path: Blob(content, False) for path, content in begun.items()}, "initial commit")
        return url

    def delete(self) -> Any:
        """Forget a repository."""
        name = self.named(self.given())
        self.may(name, write=True)
        del self.hub.repos[name]
        return {}

    def settings(self, repo: str) -> Any:
        """Make a repository private or public."""
        given = self.given()
        found = self.may(repo, write=True)
        found.private = given.get("visibility", "private" if found.private else "public") == "private"
        return {"private": found.private}

    def info(self, repo: str, revision: str = "main") -> Any:
        """What a repository is: ``HfApi.model_info``, ``HfApi.space_info``."""
        found = self.may(repo)
        sha = self.at(found, revision)
        files = found.commits[sha].files
        with_blobs = "blobs" in self.query
        siblings = [
            {"rfilename": path} | (described(blob, "blobId") if with_blobs else {}) for path, blob in files.items()
        ]
        card = front_matter(files["README.md"].content.decode())[0] if "README.md" in files else {}
        name = repo.removeprefix("spaces/")
        kind = {"modelId": name} if name == repo else {"sdk": card.get("sdk", found.sdk)}
        known = {"_id": "0", "id": name, "sha": sha, "siblings": siblings, "private": found.private} | kind
        shown = {"pipeline_tag": card.get("pipeline_tag"), "library_name": card.get("library_name"), "cardData": card}
        return known | shown | {"tags": card.get("tags") or [], "downloads": 0, "likes": 0, "lastModified": DATE}

    def tree(self, repo: str, revision: str, path: str = "") -> Any:
        """Files and folders, in pages: ``HfApi.list_repo_tree``."""
        found = self.may(repo)
        sha = self.at(found, revision)
        listed = listing(
            found.commits[sha].files, path, "recursive" in self.query and self.query["recursive"] != ["False"]
        )
        if path and not listed:
            raise RefusedError(404, "EntryNotFound", f"{path} does not exist on {revision}")
        if self.query.get("expand") == ["True"]:
            listed = [
                one | {"lastCommit": {"id": sha, "title": found.commits[sha].title, "date": DATE}} for one in listed
            ]
        start = int(self.query.get("cursor", ["0"])[0])
        headers = {"Content-Type": "application/json"}
        if start + self.hub.page < len(listed):
            rest = "&".join(f"{key}={value[0]}" for key, value in self.query.items() if key != "cursor")
            here = f"{self.hub.address}{self.parts.path}?{rest}&cursor={start + self.hub.page}"
            headers["Link"] = f'<{here}>; rel="next"'
        return 200, json.dumps(listed[start : start + self.hub.page]).encode(), headers

    def paths_info(self, repo: str, revision: str) -> Any:
        """The same of some files: ``HfApi.get_paths_info``."""
        found = self.may(repo)
        files = found.commits[self.at(found, revision)].files
        wanted = parse_qs(self.body.decode()).get("paths", [])
        return [one for one in listing(files, "", True) if one["path"] in wanted]

    def refs(self, repo: str) -> Any:
        """Branches and tags: ``HfApi.list_repo_refs``."""
        found = self.may(repo)
        pulls = {name: sha for name, sha in found.heads.items() if name.startswith("refs/pr/")}
        branches = {name: sha for name, sha in found.heads.items() if name not in pulls}

        def named(known: dict[str, str], prefix: str) -> list[dict[str, str]]:
            return [{"name": name, "ref": prefix + name, "targetCommit": sha} for name, sha in known.items()]

        listed = {"branches": named(branches, "refs/heads/"), "tags": named(found.tags, "refs/tags/"), "converts": []}
        return listed | {"pullRequests": named(pulls, "")}

    def commits(self, repo: str, revision: str) -> Any:
        """The history: ``HfApi.list_repo_commits``."""
        found = self.may(repo)
        described = {"authors": [{"user": "write"}], "date": DATE, "message": ""}
        return [{"id": sha, "title": one.title} | described for sha, one in found.log(self.at(found, revision))]

    def new_branch(self, repo: str, branch: str) -> Any:
        """A branch from main or where it is asked for."""
        found = self.may(repo, write=True)
        if branch in found.heads:
            raise RefusedError(409, None, f"Reference refs/heads/{branch} already exists")
        found.heads[branch] = self.at(found, self.given().get("startingPoint") or "main")
        return {}

    def new_tag(self, repo: str, revision: str) -> Any:
        """A tag on a revision."""
        found, tag = self.may(repo, write=True), self.given()["tag"]
        if tag in found.tags:
            raise RefusedError(409, None, f"Tag reference refs/tags/{tag} already exists")
        found.tags[tag] = self.at(found, revision)
        return {}

    def drop_branch(self, repo: str, branch: str) -> Any:
        """Forget a branch."""
        found = self.may(repo, write=True)
        self.at(found, branch)
        del found.heads[branch]
        return {}

    def drop_tag(self, repo: str, tag: str) -> Any:
        """Forget a tag."""
        found = self.may(repo, write=True)
        self.at(found, tag)
        del found.tags[tag]
        return {}

    def validate(self) -> Any:
        """What the Hub thinks of the head of a card."""
        given = self.given()
        head, problem = front_matter(given["content"])
        if not problem and given.get("repoType") == "space":
            problem = wrong_space(head)
        if problem:
            return as_json({"errors": [{"message": problem}], "warnings": []}, 400)
        warned = [] if head else [{"message": "empty or missing yaml metadata in repo card"}]
        return {"errors": [], "warnings": warned}

    def preupload(self, repo: str, revision: str) -> Any:
        """How each file is to be sent, and what is there already."""
        found = self.may(repo, write=True)
        files = found.commits[self.at(found, revision)].files
        said = []
        for one in self.given()["files"]:
            large = is_large(one["path"], one["size"], base64.b64decode(one["sample"]))
            here = {"oid": files[one["path"]].etag} if one["path"] in files else {}
            said.append(
                {"path": one["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False} | here
            )
        return {"files": said}

    def batch(self, repo: str) -> Any:
        """Where to send large files; those that are here need no sending."""
        found = self.may(repo, write=True)
        objects = []
        for one in self.given()["objects"]:
            oid, size, where = one["oid"], one["size"], f"{self.hub.storage.address}/{repo}/{one['oid']}"
            upload: dict[str, Any] = {"href": where}
            if size > self.hub.multipart:
                count = -(-size // self.hub.multipart)
                urls = {f"{number:05d}": f"{where}/{number}" for number in range(1, count + 1)}
                upload = {"href": f"{self.hub.address}/{repo}.git/complete/{oid}"}
                upload["header"] = {"chunk_size": str(self.hub.multipart)} | urls
            verify = {"href": f"{self.hub.address}/{repo}.git/info/lfs/objects/verify"}
            actions = {} if oid in found.objects else {"actions": {"upload": upload, "verify": verify}}
            objects.append({"oid": oid, "size": size} | actions)
        return {"transfer": "basic", "objects": objects}

    def complete(self, repo: str, oid: str) -> Any:
        """Put the parts of a large file together. The address is secret to who was given it, and carries no token."""
        parts = self.hub.parts.pop(oid, {})
        content = b"".join(parts.get(one["partNumber"], b"") for one in self.given()["parts"])
        if hashlib.sha256(content).hexdigest() != oid:
            raise RefusedError(400, None, "the parts do not make the file")
        self.hub.repos[repo].objects[oid] = content
        return {}

    def verify(self, repo: str) -> Any:
        """Whether a large file arrived."""
        found, given = self.may(repo, write=True), self.given()
        if len(found.objects.get(given["oid"], b"")) != given["size"]:
            raise RefusedError(400, None, f"the file {given['oid']} is not here, or of another size")
        return {}

    def commit(self, repo: str, revision: str) -> Any:
        """A new commit, of everything that it names or of nothing."""
        found = self.may(repo, write=True)
        head = self.at(found, revision)
        lines = [json.loads(line) for line in self.body.splitlines() if line.strip()]
        header = lines[0]["value"]
        asks_pull = self.query.get("create_pr") == ["1"]
        if revision not in found.heads:
            raise RefusedError(404, "RevisionNotFound", f"Invalid branch: {revision}")
        if header.get("parentCommit") not in (None, head) and not asks_pull:
            raise RefusedError(412, None, "A commit has happened since. Please refresh and try again.")
        files = dict(found.commits[head].files)
        for line in lines[1:]:
            self._apply(found, files, line["key"], line["value"])
        branch = f"refs/pr/{1 + sum(name.startswith('refs/pr/') for name in found.heads)}" if asks_pull else revision
        found.heads.setdefault(branch, head)
        sha = found.commit(files, header["summary"], branch)
        said = {"success": True, "commitOid": sha, "commitUrl": f"{self.hub.address}/{repo}/commit/{sha}"}
        number = branch.removeprefix("refs/pr/")
        return said | ({"pullRequestUrl": f"{self.hub.address}/{repo}/discussions/{number}"} if asks_pull else {})

    def _apply(self, repo: Repo, files: dict[str, Blob], key: str, value: dict[str, Any]) -> None:
        path = value["path"]
        if key == "file":
            files[path] = Blob(base64.b64decode(value["content"], validate=True), False)
        elif key == "lfsFile":
            if value["oid"] not in repo.objects:
                raise RefusedError(400, None, f"LFS pointer pointed to a file that does not exist: {path}")
            files[path] = Blob(repo.objects[value["oid"]], True)
        else:
            gone = [name for name in files if name == path or (key == "deletedFolder" and name.startswith(path))]
            if not gone:
                raise RefusedError(404, "EntryNotFound", f"A file with this name doesn't exist: {path}")
            for name in gone:
                del files[name]

    def resolve(self, repo: str, revision: str, path: str) -> Any:
        """A file, or, where it is a large one, the way to it."""
        found = self.may(repo)
        sha = self.at(found, revision)
        blob = found.commits[sha].files.get(path)
        if blob is None:
            raise RefusedError(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": sha})
        headers = {"X-Repo-Commit": sha, "ETag": f'"{blob.etag}"'}
        if not blob.large:
            return self.content(blob.content, headers | {"Content-Type": "text/plain; charset=utf-8"})
        linked = {"X-Linked-Etag": f'"{blob.etag}"', "X-Linked-Size": str(len(blob.content))}
        return (
            302,
            b"",
            headers | linked | {"Location": f"{self.hub.storage.address}/{repo}/{blob.sha256}?path={quote(path)}"},
        )


REPO, REVISION = r"(?P<repo>(?:spaces/)?[^/]+/[^/]+)", r"(?P<revision>[^/]+)"
ANY = f"/api/(?:models/|(?=spaces/)){REPO}"
ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", "/api/whoami-v2", Answer.whoami),
    ("POST", "/api/repos/create", Answer.create),
    ("DELETE", "/api/repos/delete", Answer.delete),
    ("POST", "/api/validate-yaml", Answer.validate),
    ("GET", ANY, Answer.info),
    ("PUT", f"{ANY}/settings", Answer.settings),
    ("GET", f"{ANY}/revision/{REVISION}", Answer.info),
    ("GET", f"{ANY}/tree/{REVISION}(?:/(?P<path>.*))?", Answer.tree),
    ("POST", f"{ANY}/paths-info/{REVISION}", Answer.paths_info),
    ("GET", f"{ANY}/refs", Answer.refs),
    ("GET", f"{ANY}/commits/{REVISION}", Answer.commits),
    ("POST", f"{ANY}/branch/(?P<branch>[^/]+)", Answer.new_branch),
    ("DELETE", f"{ANY}/branch/(?P<branch>[^/]+)", Answer.drop_branch),
    ("POST", f"{ANY}/tag/{REVISION}", Answer.new_tag),
    ("DELETE", f"{ANY}/tag/(?P<tag>[^/]+)", Answer.drop_tag),
    ("POST", f"{ANY}/preupload/{REVISION}", Answer.preupload),
    ("POST", f"{ANY}/commit/{REVISION}", Answer.commit),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", Answer.batch),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/verify", Answer.verify),
    ("POST", rf"/{REPO}\.git/complete/(?P<oid>[0-9a-f]+)", Answer.complete),
    ("GET", f"/{REPO}/resolve/{REVISION}/(?P<path>.+)", Answer.resolve),
]
