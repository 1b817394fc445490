// Builds without gRPC.
#include "base/error.h"
#include "grpc/grpc_server.h"

namespace tokamak::serve {

std::unique_ptr<GrpcServer> start_grpc(EngineRoom&, const GrpcOptions&) {
  fail(
      "--grpc_port: this program was built without gRPC; build it by cmake -DTOKAMAK_GRPC=ON, with "
      "libgrpc++-dev, libprotobuf-dev and protobuf-compiler-grpc installed");
}

}  // namespace tokamak::serve
