// KServe v2 over gRPC, in builds that have gRPC (TOKAMAK_GRPC); elsewhere start_grpc() says so.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tokamak::serve {

struct EngineRoom;

struct GrpcOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 0;                  // 0: any that is free
  std::string certificate, key;       // PEM files; none: in the clear
  std::vector<std::string> api_keys;  // as the metadata "authorization: Bearer KEY"; none: open
  int max_message_bytes = 32 << 20;   // of a request
  bool log_requests = true, log_json = false;
};

class GrpcServer {
 public:
  virtual ~GrpcServer() = default;  // cancels what runs
  virtual int port() const = 0;
  // Nothing new is accepted; what runs gets so many seconds.
  virtual void drain(double seconds) = 0;
};

// Error: no such address, or a build without gRPC.
std::unique_ptr<GrpcServer> start_grpc(EngineRoom& room, const GrpcOptions& options);

}  // namespace tokamak::serve
