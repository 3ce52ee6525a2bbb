"""A photo from a ministack bucket, and pictures back into it, through a running `dragunov serve --engine stub`.

Requires: boto3. Usage: python s3_ministack.py SERVICE_URL S3_URL PHOTO
"""

import json
import sys
import urllib.request

import boto3

service, s3_url, photo = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=s3_url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
s3.create_bucket(Bucket="meals")
with open(photo, "rb") as file:
    s3.put_object(Bucket="meals", Key="u/1/plate.jpg", Body=file.read(), Metadata={"pitch": "41.5", "roll": "0"})


def run(uri, **more):
    body = json.dumps({"input": {"image": {"s3": uri}, "options": {"overlay": True, "depth": True}}, **more}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{service}/runsync", data=body, headers=headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


inline = run("s3://meals/u/1/plate.jpg")
assert inline["status"] == "COMPLETED", inline
assert inline["output"]["camera"]["gravity_source"] == "s3_pitch", inline["output"]["camera"]
assert inline["output"]["overlay"].startswith("iVBOR")

keys = {"endpointUrl": s3_url, "bucketName": "meals", "accessId": "test", "accessSecret": "test"}
linked = run("s3://meals/u/1/plate.jpg", s3Config=keys)
assert linked["output"]["camera"]["gravity_source"] == "s3_pitch", linked
for name in ("overlay", "depth"):
    with urllib.request.urlopen(linked["output"][name]) as picture:
        assert picture.read(8) == b"\x89PNG\r\n\x1a\n", name

missing = run("s3://meals/u/1/none.jpg")
assert missing["status"] == "FAILED" and "object_not_found" in missing["error"], missing
refused = run("s3://meals/u/1/plate.jpg", s3Config=keys | {"accessSecret": "wrong"})
assert refused["status"] == "FAILED" and "storage" in refused["error"], refused
print("ministack: all passed")
