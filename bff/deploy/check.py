#!/usr/bin/env python3
"""What cfn-lint and checkov do not see in the templates beside this file.

    check.py            the checks
    check.py --selftest also breaks the templates, one way a check, and fails if a check does not notice

Needs cfn-lint, for reading the templates.
"""

import copy
import json
import re
import sys
from pathlib import Path

from cfnlint.decode import cfn_yaml

HERE = Path(__file__).parent
FILES = ["template.yaml", "network.yaml", "data.yaml", "app.yaml"]


def load():
    return {name: cfn_yaml.load(str(HERE / name)) for name in FILES}


def of_type(stack, kind):
    return [(name, r["Properties"]) for name, r in stack["Resources"].items() if r["Type"] == kind]


def functions(stacks):
    return of_type(stacks["app.yaml"], "AWS::Serverless::Function")


def as_list(value):
    return value if isinstance(value, list) else [value]


def nested(stacks):
    """Name of a nested stack -> its file and the parameters it is given."""
    apps = of_type(stacks["template.yaml"], "AWS::Serverless::Application")
    return {name: (p["Location"], p.get("Parameters", {})) for name, p in apps}


def attribute(value):
    """`!GetAtt a.b.c` as a list."""
    got = value.get("Fn::GetAtt") if isinstance(value, dict) else None
    return got.split(".") if isinstance(got, str) else got and ".".join(got).split(".")


def resolve(stacks, file, value):
    """Follows a parameter of a nested stack to the resource that it stands for: its name and properties."""
    if isinstance(value, dict) and "Ref" in value and value["Ref"] in stacks[file].get("Parameters", {}):
        given = next(given for _, (location, given) in nested(stacks).items() if location == file)
        return resolve(stacks, "template.yaml", given[value["Ref"]])
    path = attribute(value)
    if path and path[1:2] == ["Outputs"]:
        location = nested(stacks)[path[0]][0]
        return resolve(stacks, location, stacks[location]["Outputs"][path[2]]["Value"])
    name = path[0] if path else value["Ref"]
    return name, stacks[file]["Resources"][name]["Properties"]


def statements(stacks):
    """Statements of the functions' own policies."""
    for name, function in functions(stacks):
        for policy in function.get("Policies", []):
            for statement in policy["Statement"]:
                if "Fn::If" in statement:
                    statement = statement["Fn::If"][1]
                yield name, statement


# -- checks: each yields what is wrong


def visibility(stacks):
    """A message must not come back while it is handled: six times the function's time, says AWS."""
    for name, function in functions(stacks):
        for event in function.get("Events", {}).values():
            if event["Type"] != "SQS":
                continue
            queue, properties = resolve(stacks, "app.yaml", event["Properties"]["Queue"])
            if properties.get("VisibilityTimeout", 30) < 6 * function["Timeout"]:
                yield f"{queue} shows messages again before {name} has had six tries' time"


def partial_batches(stacks):
    """A misspelt word here and one bad message makes ten come again."""
    for name, function in functions(stacks):
        for event in function.get("Events", {}).values():
            if event["Type"] == "SQS" and event["Properties"].get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
                yield f"{name} does not report single failures"


def redrive(stacks):
    queues = dict(of_type(stacks["data.yaml"], "AWS::SQS::Queue"))
    for name, queue in queues.items():
        if name.endswith("Dead"):
            continue
        policy = queue.get("RedrivePolicy")
        if not policy:
            yield f"{name} keeps a poisoned message for ever"
            continue
        dead = attribute(policy["deadLetterTargetArn"])[0]
        if policy["maxReceiveCount"] < 5:
            yield f"{name} gives up after {policy['maxReceiveCount']} tries"
        # Age counts from the first sending.
        if queues[dead].get("MessageRetentionPeriod", 345600) <= queue.get("MessageRetentionPeriod", 345600):
            yield f"{dead} forgets before anybody looks"


def concurrency(stacks):
    for name, function in functions(stacks):
        for event in function.get("Events", {}).values():
            if event["Type"] != "SQS":
                continue
            most = event["Properties"].get("ScalingConfig", {}).get("MaximumConcurrency")
            if most is None or most > function["ReservedConcurrentExecutions"]:
                yield f"{name}: messages that are received and throttled use up their tries"


def connections(stacks):
    """An instance holds one connection; the database of 4 GiB has about 400."""
    env = stacks["app.yaml"]["Globals"]["Function"]["Environment"]["Variables"]
    total = sum(f["ReservedConcurrentExecutions"] for _, f in functions(stacks))
    alarms = dict(of_type(stacks["app.yaml"], "AWS::CloudWatch::Alarm"))
    limit = alarms["DatabaseConnectionsAlarm"]["Threshold"]
    if env["BFF_DATABASE_CONNECTIONS"] != "1" or total >= limit:
        yield f"{total} instances, and the alarm is at {limit} connections"


def stars(stacks):
    """checkov looks into AWS::IAM::Role, not into Policies of a SAM function."""
    for name, statement in statements(stacks):
        for action in as_list(statement["Action"]):
            if "*" in action:
                yield f"{name} may do {action}"
        for resource in as_list(statement["Resource"]):
            if resource == "*":
                yield f"{name} may do it to everything"
        if statement["Effect"] == "Allow" and "Principal" in statement:
            yield f"{name}: a function's policy has no principal"


def principals(stacks):
    for file, stack in stacks.items():
        for name, resource in stack["Resources"].items():
            document = resource.get("Properties", {}).get("PolicyDocument") or resource.get("Properties", {}).get("KeyPolicy")
            for statement in (document or {}).get("Statement", []):
                anybody = statement.get("Principal") in ("*", {"AWS": "*"})
                if anybody and statement["Effect"] == "Allow":
                    yield f"{file} {name} lets everybody in"
                service = isinstance(statement.get("Principal"), dict) and "Service" in statement["Principal"]
                if service and statement["Effect"] == "Allow" and "Condition" not in statement:
                    yield f"{file} {name} lets a service in for any account"


def buckets(stacks):
    stack = stacks["data.yaml"]
    denied = set()
    for _, policy in of_type(stack, "AWS::S3::BucketPolicy"):
        for s in policy["PolicyDocument"]["Statement"]:
            if s["Effect"] == "Deny" and s.get("Condition") == {"Bool": {"aws:SecureTransport": False}} and s["Action"] == "s3:*":
                denied.add(policy["Bucket"]["Ref"])
    for name, bucket in of_type(stack, "AWS::S3::Bucket"):
        if name not in denied:
            yield f"{name} answers without TLS"
        rules = bucket.get("LifecycleConfiguration", {}).get("Rules", [])
        if not any("AbortIncompleteMultipartUpload" in r for r in rules):
            yield f"{name} keeps uploads that were never finished"
        if not all(bucket.get("PublicAccessBlockConfiguration", {}).values()) or len(bucket.get("PublicAccessBlockConfiguration", {})) != 4:
            yield f"{name} may be made public"
        for rule in bucket.get("CorsConfiguration", {}).get("CorsRules", []):
            if set(rule["AllowedMethods"]) - {"PUT", "POST"} or rule["AllowedOrigins"] != {"Ref": "AppOrigins"}:
                yield f"{name} may be used from other pages"
    upload = dict(of_type(stack, "AWS::S3::Bucket"))["UploadBucket"]
    if not any(r.get("ExpirationInDays") == 1 for r in upload["LifecycleConfiguration"]["Rules"]):
        yield "photos stay in the bucket of uploads"


def bucket_events(stacks):
    """S3 writes to the encrypted queue only if the key lets it."""
    key = stacks["data.yaml"]["Resources"]["Key"]["Properties"]["KeyPolicy"]["Statement"]
    good = any(s["Principal"] == {"Service": "s3.amazonaws.com"} and "kms:GenerateDataKey" in s["Action"] for s in key)
    if not good:
        yield "no event of a bucket will ever arrive"


def sockets(stacks):
    docs = HERE.parents[1] / "docs" / "notifications.md"
    rule = docs.exists() and "first message" in docs.read_text()
    for name, route in of_type(stacks["app.yaml"], "AWS::ApiGatewayV2::Route"):
        if route["RouteKey"] == "$connect" and route.get("AuthorizationType", "NONE") == "NONE" and not rule:
            yield f"{name} has no authorizer, and docs/notifications.md does not say why"


def secrets(stacks):
    for file in FILES:
        text = (HERE / file).read_text()
        if re.search(r"AKIA[0-9A-Z]{16}|-----BEGIN|rpa_[0-9A-Za-z]{20}|pplx-|AIza[0-9A-Za-z_-]{30}", text):
            yield f"{file} holds a key"
    for name, function in functions(stacks):
        for variable, value in function.get("Environment", {}).get("Variables", {}).items():
            if re.search("KEY|TOKEN|PASSWORD", variable) and isinstance(value, str):
                yield f"{name}: {variable} is written out"


def variables(stacks):
    """Each variable that is set is one that the program reads."""
    source = "\n".join(p.read_text() for p in (HERE.parent / "src").rglob("*.rs"))
    every = [stacks["app.yaml"]["Globals"]["Function"]] + [f for _, f in functions(stacks)]
    for function in every:
        for variable in function.get("Environment", {}).get("Variables", {}):
            if f'"{variable}"' not in source:
                yield f"{variable} is read by nothing"


def wiring(stacks):
    """Parameters and outputs of the nested stacks meet."""
    for name, (location, given) in nested(stacks).items():
        known = stacks[location].get("Parameters", {})
        for parameter in set(given) - set(known):
            yield f"{location} has no parameter {parameter}"
        for parameter, p in known.items():
            if parameter not in given and "Default" not in p:
                yield f"{name} is not given {parameter}"
        for value in given.values():
            path = attribute(value)
            if path and path[2] not in stacks[nested(stacks)[path[0]][0]]["Outputs"]:
                yield f"{path[0]} has no output {path[2]}"


def times(stacks):
    """API Gateway hangs up after 30 seconds."""
    for name in ("ApiFunction", "SocketFunction"):
        if dict(functions(stacks))[name]["Timeout"] >= 30:
            yield f"{name} works on for nobody"


CHECKS = [visibility, partial_batches, redrive, concurrency, connections, stars, principals, buckets, bucket_events, sockets,
          secrets, variables, wiring, times]


def faults(stacks):
    return [f"{check.__name__}: {fault}" for check in CHECKS for fault in check(stacks)]


# -- the checks, checked


def at(stacks, file, *path):
    node = stacks[file]["Resources"]
    for step in path:
        node = node[step]
    return node


def breakages():
    """The check that must notice, and how the templates are broken."""
    worker = ("app.yaml", "WorkerFunction", "Properties")
    event = (*worker, "Events", "Queue", "Properties")
    statement = (*worker, "Policies", 0, "Statement", 0)
    bucket = ("data.yaml", "UploadBucket", "Properties")
    return [
        ("visibility", lambda s: at(s, "data.yaml", "EventQueue", "Properties").update(VisibilityTimeout=30)),
        ("visibility", lambda s: at(s, *worker).update(Timeout=121)),
        ("partial_batches", lambda s: at(s, *event).update(FunctionResponseTypes=["ReportBatchItemFailure"])),
        ("redrive", lambda s: at(s, "data.yaml", "UploadQueue", "Properties").pop("RedrivePolicy")),
        ("redrive", lambda s: at(s, "data.yaml", "EventDead", "Properties").pop("MessageRetentionPeriod")),
        ("concurrency", lambda s: at(s, *event)["ScalingConfig"].update(MaximumConcurrency=50)),
        ("connections", lambda s: at(s, "app.yaml", "ApiFunction", "Properties").update(ReservedConcurrentExecutions=500)),
        ("stars", lambda s: at(s, *statement).update(Action="s3:*")),
        ("stars", lambda s: at(s, *statement).update(Resource="*")),
        ("principals", lambda s: at(s, "data.yaml", "UploadQueuePolicy", "Properties", "PolicyDocument", "Statement", 0).update(Principal="*")),
        ("principals", lambda s: at(s, "data.yaml", "UploadQueuePolicy", "Properties", "PolicyDocument", "Statement", 0).pop("Condition")),
        ("buckets", lambda s: s["data.yaml"]["Resources"].pop("KeepBucketPolicy")),
        ("buckets", lambda s: at(s, *bucket, "CorsConfiguration", "CorsRules", 0).update(AllowedOrigins=["*"])),
        ("buckets", lambda s: at(s, *bucket, "CorsConfiguration", "CorsRules", 0).update(AllowedMethods=["GET", "PUT"])),
        ("buckets", lambda s: at(s, *bucket, "LifecycleConfiguration", "Rules", 0).pop("AbortIncompleteMultipartUpload")),
        ("buckets", lambda s: at(s, *bucket, "LifecycleConfiguration", "Rules", 0).update(ExpirationInDays=30)),
        ("buckets", lambda s: at(s, *bucket, "PublicAccessBlockConfiguration").update(BlockPublicAcls=False)),
        ("bucket_events", lambda s: at(s, "data.yaml", "Key", "Properties", "KeyPolicy", "Statement").pop(1)),
        ("secrets", lambda s: at(s, *worker, "Environment", "Variables").update(BFF_APNS_KEY="x")),
        ("variables", lambda s: at(s, *worker, "Environment", "Variables").update(BFF_MISSPELT="x")),
        ("wiring", lambda s: s["data.yaml"]["Outputs"].pop("KeyArn")),
        ("wiring", lambda s: at(s, "template.yaml", "App", "Properties", "Parameters").pop("Stage")),
        ("times", lambda s: at(s, "app.yaml", "ApiFunction", "Properties").update(Timeout=30)),
    ]


def selftest(stacks):
    for name, damage in breakages():
        broken = copy.deepcopy(stacks)
        damage(broken)
        if not any(f.startswith(f"{name}:") for f in faults(broken)):
            yield f"{name} did not notice a broken template"


def main():
    stacks = load()
    found = faults(stacks)
    if "--selftest" in sys.argv:
        found += selftest(stacks)
        print(f"{len(CHECKS)} checks, {len(breakages())} breakages tried")
    endpoint = json.loads((HERE / "runpod-endpoint.json").read_text())
    if endpoint["workersMin"] > endpoint["workersMax"]:
        found.append("runpod-endpoint.json: fewer workers at most than at least")
    for fault in found:
        print(f"FAILED: {fault}")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
