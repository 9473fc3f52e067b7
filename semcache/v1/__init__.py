"""Generated protobuf and gRPC stubs of `protos/semcache/v1/semcache.proto`; never edited by hand."""
